//! Pure translation: Gateway API resources to node configuration and statuses.
