//! What users write: Gateway API v1.6.1 kinds and Penstock's own custom resources.
