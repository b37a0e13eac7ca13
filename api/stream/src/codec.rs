//! Messages in gRPC frames, and where the methods are.

use prost::Message;
use std::marker::PhantomData;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Path of `rpc Stream`.
pub(crate) const STREAM: &str = "/penstock.stream.v1.Nodes/Stream";

/// Path of `rpc Artifact`.
pub(crate) const ARTIFACT: &str = "/penstock.stream.v1.Nodes/Artifact";

/// Sends `S`, receives `R`.
#[derive(Debug)]
pub(crate) struct Protobuf<S, R>(PhantomData<(S, R)>);

impl<S, R> Default for Protobuf<S, R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<S: Message + 'static, R: Message + Default + 'static> Codec for Protobuf<S, R> {
    type Encode = S;
    type Decode = R;
    type Encoder = Protobuf<S, R>;
    type Decoder = Protobuf<S, R>;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<S: Message, R> Encoder for Protobuf<S, R> {
    type Item = S;
    type Error = Status;

    fn encode(&mut self, message: S, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl<S, R: Message + Default> Decoder for Protobuf<S, R> {
    type Item = R;
    type Error = Status;

    /// A message that is none is the sender's fault: `DATA_LOSS`, which nothing else here is.
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<R>, Status> {
        R::decode(buffer).map(Some).map_err(|error| Status::data_loss(error.to_string()))
    }
}
