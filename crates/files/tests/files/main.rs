//! Files in, forecasts out: what somebody with a file would notice.

mod reading;
mod writing;
