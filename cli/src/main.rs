//! fleetscan.
fn main(){}
