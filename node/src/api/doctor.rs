//! The self-test.

use axum::Json;
use axum::extract::State as Shared;

use super::State;
use crate::doctor::{self, DoctorDocument};
use crate::jobs::Caller;

pub(super) async fn examine(_: Caller, Shared(state): Shared<State>) -> Json<DoctorDocument> {
    Json(doctor::examine(&state).await)
}
