#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| potluck_discovery::fuzzing::text(input));
