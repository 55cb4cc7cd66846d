//! The command line's promises, kept by the program itself: what it prints and where, its exit codes, and that whatever
//! goes wrong is named and costs nobody a model.

#[path = "../common/mnist.rs"]
mod mnist;

mod classes;
mod compare;
mod devices;
mod eval;
mod export;
mod folders;
mod harness;
mod interruptions;
#[cfg(unix)]
mod killed;
mod lr_find;
mod manners;
mod network;
mod networks;
mod numbers;
mod own;
mod pictures;
mod predict;
mod recipes;
mod resume;
mod runs;
mod selftest;
#[cfg(target_os = "linux")]
mod soak;
mod targets;
mod train;
mod usage;
