//! Deciding where bytes come from: sources, serving queue, rates, jobs. Pure.
