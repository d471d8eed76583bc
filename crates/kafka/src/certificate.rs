//! Why a broker's certificate is not trusted: librdkafka only says that it is not, and
//! an expired certificate, a wrong authority and a wrong host name want three remedies.
//!
//! The broker is asked for its certificate once more, by rustls, which the program has
//! for the model hub; what that finds is words in an error and decides nothing.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConnection, RootCertStore};
use tidecast_stream::EventTime;

use crate::client::Failure;

/// How long a broker that has just answered may take to do so again.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where Linux systems keep their authorities in one file.
const SYSTEM: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];

/// Adds to `failure` what is wrong with the broker's certificate, if that is what failed
/// and it can be found out. `settings` are the client's.
pub(crate) fn looked_into(failure: Failure, settings: &ClientConfig) -> Failure {
    if !failure.reason.contains("certificate verify failed") {
        return failure;
    }
    let found = address(&failure.reason)
        .zip(authorities(settings))
        .and_then(|(address, authorities)| fault(address, authorities));
    match found {
        Some(fault) => Failure { reason: format!("{}: {fault}", failure.reason), ..failure },
        None => failure,
    }
}

/// Returns host and port of the broker that librdkafka's words are about, as in
/// `ssl://host:9093/1: SSL handshake failed`.
fn address(reason: &str) -> Option<(&str, u16)> {
    let (_, rest) = reason.split_once("ssl://")?;
    let (address, _) = rest.split_once('/')?;
    let (host, port) = address.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']), port.parse().ok()?))
}

/// Returns what the client trusts, where that is one file or one text.
fn authorities(settings: &ClientConfig) -> Option<RootCertStore> {
    let certificates = match (settings.get("ssl.ca.location"), settings.get("ssl.ca.pem")) {
        (_, Some(pem)) => CertificateDer::pem_slice_iter(pem.as_bytes()).collect(),
        (Some(path), None) if path != "probe" => of_file(Path::new(path)),
        _ => of_file(SYSTEM.iter().map(Path::new).find(|path| path.is_file())?),
    };
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates.ok()?);
    Some(store)
}

fn of_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_file_iter(path)?.collect()
}

/// Returns what is wrong with the certificate of the broker at `address`.
fn fault((host, port): (&str, u16), authorities: RootCertStore) -> Option<String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(authorities)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
    let addresses = (host, port).to_socket_addrs().ok()?;
    let mut stream =
        addresses.filter_map(|it| TcpStream::connect_timeout(&it, PATIENCE).ok()).next()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut stream) {
            return certificate_error(&error).and_then(|error| words(&error, host));
        }
    }
    None
}

fn certificate_error(error: &io::Error) -> Option<CertificateError> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(error) => Some(error.clone()),
        _ => None,
    }
}

fn words(error: &CertificateError, host: &str) -> Option<String> {
    let at = |time: &UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        EventTime::from_millis(seconds.saturating_mul(1_000))
    };
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            Some(format!("it expired at {}", at(not_after)))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            Some(format!("it is valid only from {} on", at(not_before)))
        }
        CertificateError::UnknownIssuer => {
            Some("its authority is none of `ssl.ca.location`".to_owned())
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names = presented.join(", ");
            Some(format!("it is not for host `{host}`, but for: {names}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_is_the_one_that_librdkafka_names() {
        for (reason, expected) in [
            ("ssl://localhost:9093/bootstrap: SSL handshake failed", Some(("localhost", 9093))),
            ("sasl_ssl://[::1]:9093/2: SSL handshake failed: x", Some(("::1", 9093))),
            ("SSL handshake failed", None),
            ("ssl://localhost", None),
        ] {
            assert_eq!(address(reason), expected, "{reason}");
        }
    }
}
