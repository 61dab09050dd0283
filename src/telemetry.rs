//! The log on stderr, and traces to a collector. The only user of the OpenTelemetry SDK for traces.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing_subscriber::{EnvFilter, Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// How long the last traces may take to reach the collector at exit.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// What is logged and traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What is logged, in the directives of `tracing-subscriber`, for example `info,fanfare::cluster=debug`. Default `info`.
    pub filter: String,
    /// How log lines look. Default [`LogFormat::Text`].
    pub format: LogFormat,
    /// The OTLP/gRPC collector that gets traces, for example `http://127.0.0.1:4317`. Default: none.
    pub otlp_endpoint: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
            otlp_endpoint: None,
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why telemetry was not set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("the log filter is not understood")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The exporter was not built.
    #[error("traces cannot be exported")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// This process has a subscriber already.
    #[error("a subscriber is installed already")]
    Installed(#[from] tracing_subscriber::util::TryInitError),
}

/// Telemetry of this process; to be ended by [`Telemetry::flush`].
#[derive(Debug)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sets up the log and the traces of this process, once. Needs a tokio runtime when traces are exported.
    ///
    /// # Errors
    /// [`TelemetryError`]; nothing is set up then.
    pub fn install(config: &Config) -> Result<Self, TelemetryError> {
        let filter = EnvFilter::try_new(&config.filter)?;
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal());
        let lines = match config.format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        let traces = config.otlp_endpoint.as_deref().map(exporting).transpose()?;
        // Our own spans only: those of the exporter's client would each cause another export.
        let ours = Targets::new().with_target("fanfare", tracing::Level::TRACE);
        let spans = traces.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("fanfare"))
                .with_filter(ours)
        });
        tracing_subscriber::registry().with(lines).with(spans).with(filter).try_init()?;
        Ok(Self { traces })
    }

    /// Sends what is left to the collector, for at most two seconds. Blocks: nothing else runs at that point.
    pub fn flush(self) {
        if let Some(Err(error)) = self.traces.map(|provider| provider.shutdown_with_timeout(FLUSH_TIMEOUT)) {
            tracing::warn!(%error, "the last traces did not reach the collector");
        }
    }
}

/// A provider that sends batches to `endpoint`, in the background.
fn exporting(endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let resource = Resource::builder().with_service_name("fanfare").build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}
