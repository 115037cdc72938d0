//! The write-behind queue.
