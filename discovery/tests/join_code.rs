//! Whatever text comes in, reading a join code ends with a code or an error.

use potluck_discovery::{JoinCode, JoinCodeError};
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in any::<String>()) {
        let _ = text.parse::<JoinCode>();
    }

    #[test]
    fn any_digits_are_read_without_panic(text in "[0-9A-Za-z -]{0,200}") {
        if let Ok(code) = text.parse::<JoinCode>() {
            prop_assert_eq!(code.to_text().parse(), Ok(code));
        }
    }

    #[test]
    fn errors_never_repeat_the_text(text in "[A-Z]{30,60}") {
        let error: JoinCodeError = text.parse::<JoinCode>().unwrap_err();
        let told = format!("{error} {error:?}");
        prop_assert!(!told.contains(&text[..20]));
    }
}
