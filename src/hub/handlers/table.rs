//! Which handlers a namespace has.

use std::{collections::HashMap, sync::Arc};

use super::{Bound, OnConnect, OnDisconnect, OnEvent, OnMiddleware};

/// The handlers of a namespace. One for each event: a later one takes the place of an earlier one.
#[derive(Debug, Default)]
pub(in crate::hub) struct Table {
    /// In the order in which they are asked.
    pub(in crate::hub) middlewares: Vec<Arc<Bound<OnMiddleware>>>,
    pub(in crate::hub) connect: Option<Arc<Bound<OnConnect>>>,
    pub(in crate::hub) events: HashMap<Box<str>, Arc<Bound<OnEvent>>>,
    pub(in crate::hub) disconnect: Option<Arc<Bound<OnDisconnect>>>,
}
