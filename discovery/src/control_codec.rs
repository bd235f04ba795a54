//! How messages are read from streams of control connections, and written to them.

use std::io;

use futures::{AsyncRead, AsyncWrite};
use libp2p::StreamProtocol;
use libp2p::request_response::{self, cbor};

use crate::control_message::{MAX_REQUEST, MAX_RESPONSE, Request, Response};

/// CBOR within limits, where a question that cannot be read is one too: libp2p tells
/// nobody of it, and who sends such things is to lose its place.
#[derive(Clone)]
pub(crate) struct ControlCodec(cbor::codec::Codec<Request, Response>);

impl Default for ControlCodec {
    fn default() -> Self {
        let codec = cbor::codec::Codec::default()
            .set_request_size_maximum(MAX_REQUEST)
            .set_response_size_maximum(MAX_RESPONSE);
        Self(codec)
    }
}

impl request_response::Codec for ControlCodec {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Response;

    async fn read_request<T>(
        &mut self,
        protocol: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        match self.0.read_request(protocol, io).await {
            Err(error) if is_unreadable(&error) => Ok(Request::unreadable()),
            read => read,
        }
    }

    async fn read_response<T>(
        &mut self,
        protocol: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.0.read_response(protocol, io).await
    }

    async fn write_request<T>(
        &mut self,
        protocol: &StreamProtocol,
        io: &mut T,
        request: Request,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.0.write_request(protocol, io, request).await
    }

    async fn write_response<T>(
        &mut self,
        protocol: &StreamProtocol,
        io: &mut T,
        response: Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.0.write_response(protocol, io, response).await
    }
}

/// Whether it is what a peer said that is wrong. What is cut short is not: connections
/// and nodes end in the middle of a word.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, Other, Unsupported};
    matches!(error.kind(), InvalidData | Other | Unsupported)
}
