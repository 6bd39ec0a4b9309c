//! What operators and orchestrators ask of callboard itself.

pub mod health;
