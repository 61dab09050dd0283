//! What one socket may have beyond what every socket has.

use std::sync::{Arc, Mutex};

use crate::hub::handlers::{Listeners, States};

/// The handlers and values of one socket alone.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub(super) listeners: Mutex<Listeners>,
    /// Values of this process, by type.
    pub(super) extensions: States,
    /// The JSON that other nodes and recovered sockets get to see.
    pub(super) data: Mutex<Option<Arc<str>>>,
}
