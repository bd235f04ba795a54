//! Join codes that are no good: one line says which, and nothing has changed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use potluck_tests::{Lab, Node, poll};

#[test]
fn wrong() {
    Lab::run(|lab| {
        let (_inviter, guest, code) = invited(lab)?;
        let wrong = mistyped(&code)?;
        refused(&guest, &wrong)?;
        refused(&guest, "rubbish")?;
        refused(&guest, "")?;
        // The right one still works.
        guest.join(&code)?;
        guest.await_peers(1).map(drop)
    });
}

#[test]
fn cut_short() {
    Lab::run(|lab| {
        let (_inviter, guest, code) = invited(lab)?;
        let said = refused(&guest, &code[..code.len() - 3])?;
        ensure!(
            said.contains("short") || said.contains("incomplete") || said.contains("cut"),
            "{said}"
        );
        Ok(())
    });
}

#[test]
fn used_up() {
    Lab::run(|lab| {
        let (_inviter, guest, code) = invited(lab)?;
        guest.join(&code)?;
        let mut late = Node::new(lab, &lab.host("late")?, &[])?;
        late.start()?;
        let said = refused(&late, &code)?;
        ensure!(said.contains("used"), "{said}");
        Ok(())
    });
}

#[test]
fn expired() {
    Lab::run(|lab| {
        let (inviter, guest, _) = invited(lab)?;
        let invite = inviter.json(&["domain", "invite", "--expires", "1s"])?;
        let code = invite["code"].as_str().context("a code")?;
        let expires = invite["expires"].as_str().context("an end")?.to_owned();
        poll(Duration::from_secs(10), "the end of the invitation", || {
            let now = std::process::Command::new("date")
                .args(["-u", "+%FT%TZ"])
                .output()?;
            Ok(String::from_utf8(now.stdout)?.trim() > expires.as_str())
        })?;
        let said = refused(&guest, code)?;
        ensure!(said.contains("ended"), "{said}");
        Ok(())
    });
}

/// The code with one letter of its middle changed, as when it was typed.
fn mistyped(code: &str) -> Result<String> {
    let half = code.len() / 2;
    let found = code
        .char_indices()
        .skip(half)
        .find(|(_, letter)| letter.is_ascii_alphanumeric());
    let (place, letter) = found.context("letters")?;
    let mut wrong = code.to_owned();
    wrong.replace_range(place..=place, if letter == 'A' { "B" } else { "A" });
    Ok(wrong)
}

fn invited(lab: &Lab) -> Result<(Node, Node, String)> {
    let (a, b) = (lab.host("a")?, lab.host("b")?);
    let mut inviter = Node::new(lab, &a, &[])?;
    inviter.knows(lab, &[&b])?;
    inviter.start()?;
    inviter.create_domain("lab")?;
    let code = inviter.invite()?;
    let mut guest = Node::new(lab, &b, &[])?;
    guest.knows(lab, &[&a])?;
    guest.start()?;
    Ok((inviter, guest, code))
}

/// One line of complaint, and the guest is in no domain.
fn refused(guest: &Node, code: &str) -> Result<String> {
    let before = guest.json(&["domain", "show"]).ok();
    let outcome = guest.run(&["domain", "join", code])?;
    ensure!(!outcome.status.success(), "{outcome:?}");
    ensure!(
        outcome.stderr.lines().count() == 1,
        "not one line: {}",
        outcome.stderr
    );
    ensure!(
        guest.json(&["domain", "show"]).ok() == before,
        "the membership changed"
    );
    ensure!(
        !guest.data_dir().join("domain").exists(),
        "something was written"
    );
    Ok(outcome.stderr)
}
