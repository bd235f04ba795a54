#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| potluck_discovery::fuzzing::certificate(input));
