//! How much a job may have its node keep.

use potluck_transfer::ProxyChoice;

use super::{Credentials, Hook, Job, JobFile, JobSecrets, Refusal};

/// Bytes of text in one job of a user, and in one of root, who may have any number of
/// files in it.
const MOST: usize = 2 << 20;
const MOST_OF_ROOT: usize = 64 << 20;
/// Names, times and numbers that are shown of a job and of each of its files.
const FRAME: usize = 1 << 10;

/// # Errors
/// When there is more in it than its owner may have kept.
pub(super) fn check(job: &Job, secrets: &JobSecrets) -> Result<(), Refusal> {
    let most = match job.owner {
        0 => MOST_OF_ROOT,
        _ => MOST,
    };
    let bytes = of_job(job) + of_secrets(secrets);
    if bytes <= most {
        return Ok(());
    }
    Err(Refusal::Invalid(format!(
        "a job has at most {most} bytes of URLs, paths, header fields and other text, this one \
         has {bytes}: make several jobs of it"
    )))
}

/// About how many bytes it takes to show a job.
pub(super) fn shown(job: &Job, brief: bool) -> usize {
    let said = |file: &JobFile| {
        let troubles = std::mem::size_of_val(file.troubles.as_slice());
        let error = file.error.as_ref().map_or(0, |error| error.message.len());
        let others = file.final_url.as_ref().map_or(0, String::len);
        of_file(file) + of_fields(&file.response_headers) + others + error + troubles + FRAME
    };
    let of_files = match brief {
        true => 0,
        false => job.files.iter().map(said).sum(),
    };
    of_settings(job) + FRAME + of_files
}

fn of_job(job: &Job) -> usize {
    of_settings(job) + job.files.iter().map(of_file).sum::<usize>()
}

fn of_file(file: &JobFile) -> usize {
    let ranges = file.ranges.as_ref();
    let ranges = ranges.map_or(0, |ranges| std::mem::size_of_val(ranges.as_slice()));
    file.url.len() + file.path.as_os_str().len() + of_fields(&file.headers) + ranges
}

fn of_settings(job: &Job) -> usize {
    let origin = &job.origin;
    let paths = origin.ca_files.iter();
    let certificate = origin.client_certificate.iter();
    let paths = paths.chain(certificate.flat_map(|pair| [&pair.certificate_file, &pair.key_file]));
    let proxy = match &origin.proxy {
        ProxyChoice::Url(url) => url.len(),
        _ => 0,
    };
    let hooks = job.on_complete.iter().chain(&job.on_error);
    job.name.len()
        + job.description.len()
        + of_fields(&job.headers)
        + paths.map(|path| path.as_os_str().len()).sum::<usize>()
        + proxy
        + hooks.map(of_hook).sum::<usize>()
}

fn of_hook(hook: &Hook) -> usize {
    let words: usize = hook.arguments.iter().map(String::len).sum();
    hook.program.as_os_str().len() + words
}

fn of_fields(fields: &[(String, String)]) -> usize {
    let bytes = fields.iter().map(|(name, value)| name.len() + value.len());
    bytes.sum()
}

fn of_secrets(secrets: &JobSecrets) -> usize {
    let fields = secrets.files.values().map(|file| &file.headers);
    let fields = fields.chain([&secrets.headers]).flatten();
    let fields = fields.map(|(name, value)| name.len() + value.expose().len());
    let credentials = match &secrets.credentials {
        None => 0,
        Some(Credentials::Basic { user, password }) => user.len() + password.expose().len(),
        Some(Credentials::Bearer { token }) => token.expose().len(),
    };
    fields.sum::<usize>() + credentials
}
