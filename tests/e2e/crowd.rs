//! Crowds that want one file: what the origin sends, counted at its link and in its log.

mod needs_nginx_curl_tc_namespaces {
    use anyhow::{Context, Result, ensure};
    use potluck_tests::Lab;
    use potluck_tests::crowd::{Outcome, Scene, System, measure};

    const SIZE: u64 = 4 << 20;
    const COLD: u64 = 16 << 20;

    #[test]
    fn a_newcomer_costs_the_origin_nothing() {
        Lab::run_in_namespaces(|lab| {
            let outcome = measure(lab, &Scene::warm(4, SIZE, 1), System::Potluck)?;
            ensure!(outcome.body_bytes == 0, "{outcome:?}");
            // The question what the URL names, and the answer.
            ensure!(outcome.copies < 0.01, "{outcome:?}");
            let sources = outcome.sources.context("nodes count")?;
            ensure!(sources.peers == SIZE, "{outcome:?}");
            Ok(())
        });
    }

    #[test]
    fn alone_a_cold_crowd_costs_the_origin_one_copy() {
        Lab::run_in_namespaces(|lab| {
            // Audits are picked by chance: here it is what claims cost that counts.
            let scene = Scene {
                audits: false,
                ..Scene::cold(6, COLD, 1)
            };
            let outcome = measure(lab, &scene, System::Potluck)?;
            ensure!(outcome.finishes.len() == 6, "{outcome:?}");
            // The odd piece that two ask for at once.
            ensure!(outcome.copies <= 1.05, "{outcome:?}");
            sum_is_right(&outcome, 6 * COLD)
        });
    }

    #[test]
    fn those_that_live_get_the_file_when_others_are_killed() {
        Lab::run_in_namespaces(|lab| {
            let outcome = measure(lab, &Scene::churn(6, SIZE, 1), System::Potluck)?;
            ensure!(outcome.finishes.len() == 6, "{outcome:?}");
            // Nobody takes more than everybody for himself, the dead included.
            ensure!(outcome.copies < 8.2, "{outcome:?}");
            sum_is_right(&outcome, 6 * SIZE)
        });
    }

    fn sum_is_right(outcome: &Outcome, size: u64) -> Result<()> {
        let sources = outcome.sources.context("nodes count")?;
        let sum = sources.peers + sources.origin + sources.cache;
        ensure!(sum == size, "{outcome:?}");
        Ok(())
    }
}
