//! The connection to the control plane: TLS 1.3, both sides with certificates, deadlines on everything.

use crate::{args::Args, context::Context, failure::Failure};
use palisade_proto::v1::{
    analysis_service_client::AnalysisServiceClient, flow_service_client::FlowServiceClient,
    namespace_service_client::NamespaceServiceClient, observe_service_client::ObserveServiceClient,
    plugin_service_client::PluginServiceClient, resource_service_client::ResourceServiceClient,
    store_service_client::StoreServiceClient, token_service_client::TokenServiceClient,
};
use std::time::Duration;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Largest answer taken, in bytes: a listing page or a node's view.
const MAX_ANSWER: usize = 256 << 20;

/// A connection, and the deadline of its requests.
pub(crate) struct Client {
    channel: Channel,
    timeout: Duration,
}

impl Client {
    /// Connects to the server of the context.
    pub(crate) async fn connect(args: &Args) -> Result<Self, Failure> {
        let context = Context::load(args.context.as_deref())?;
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&context.ca))
            .identity(Identity::from_pem(&context.certificate, &context.key));
        let unusable = |error: tonic::transport::Error| {
            Failure::invalid(format!("the context is not usable: {}", chain(&error)))
        };
        let unreachable = |why: &str| {
            Failure::unreachable(format!("cannot reach `{}`: {why}", context.server))
                .hint("is the control plane running, and does the context name its address?")
        };
        let patience = args.timeout.min(Duration::from_secs(10));
        let endpoint = Endpoint::from_shared(format!("https://{}", context.server))
            .map_err(unusable)?
            .tls_config(tls)
            .map_err(unusable)?
            .connect_timeout(patience);
        // The endpoint's own limit ends with TCP: a server that hangs takes connections, and never shakes hands.
        let channel = tokio::time::timeout(patience, endpoint.connect())
            .await
            .map_err(|_| unreachable(&format!("no answer within {patience:?}")))?
            .map_err(|error| unreachable(&chain(&error)))?;
        Ok(Self {
            channel,
            timeout: args.timeout,
        })
    }

    /// A request with the deadline.
    pub(crate) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    pub(crate) fn resources(&self) -> ResourceServiceClient<Channel> {
        ResourceServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_ANSWER)
            .max_encoding_message_size(MAX_ANSWER)
    }

    pub(crate) fn store(&self) -> StoreServiceClient<Channel> {
        StoreServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    pub(crate) fn tokens(&self) -> TokenServiceClient<Channel> {
        TokenServiceClient::new(self.channel.clone())
    }

    pub(crate) fn namespaces(&self) -> NamespaceServiceClient<Channel> {
        NamespaceServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    pub(crate) fn plugins(&self) -> PluginServiceClient<Channel> {
        PluginServiceClient::new(self.channel.clone())
    }

    pub(crate) fn flows(&self) -> FlowServiceClient<Channel> {
        FlowServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    pub(crate) fn observe(&self) -> ObserveServiceClient<Channel> {
        ObserveServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    pub(crate) fn analysis(&self) -> AnalysisServiceClient<Channel> {
        AnalysisServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }
}

/// An error and its causes in one line; transport errors hide the reason in their sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
