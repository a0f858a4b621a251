//! The database over HTTP, for programs of this machine: to try it with, and for what was written for the first
//! version's server.
//!
//! ```text
//! mod         sockets and signals: from the first to the last connection
//! door        who may come in
//! resources   what lies at which path
//! query       the messages of the first version
//! answer      statuses, JSON, headers
//! ```
//!
//! What always holds here:
//!
//! 1. Everything that a client sends has a limit and a deadline: connections, heads, bodies, answers not taken.
//! 2. Calls of the engine may wait for a disk, so they run on threads of their own and keep no connection waiting but
//!    the one that asked. A call that has begun is finished, though its client is gone.
//! 3. An answer leaves after the engine has acknowledged the commit, never before.
//! 4. The stop lets running requests end, then closes the database; the exit code says whether all became durable.

mod answer;
mod door;
mod query;
mod resources;

use super::args::{ServeArguments, ServedDurability};
use super::failure::{Code, Failure, Result, say};
use super::open::open_to_serve;
use answer::Answer;
use diamonddb::{Database, Durability};
use door::Door;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, CONTENT_ENCODING,
    EXPECT, HeaderValue,
};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use resources::{Resource, cut};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

/// The port of the first version.
const PORT: u16 = 2020;
/// Connections at a time. More wait, unaccepted, until one of these ends; idle ones end at the deadline.
const CONNECTIONS_MAX: usize = 256;
/// Calls of the engine at a time. More wait.
const CALLS_MAX: usize = 32;
/// The largest body.
const BODY_SIZE_MAX: usize = 8 << 20;
/// So much of a larger one is read, so that a client which sends before it listens hears the answer.
const READ_SIZE_MAX: usize = 64 << 20;
/// The largest head.
const HEAD_SIZE_MAX: usize = 64 << 10;
/// How long the stop waits for requests, and then again for calls of the engine.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Serves the database until a signal says stop.
pub fn serve(arguments: &ServeArguments) -> Result<()> {
    let door = Door::new(arguments)?;
    let address = SocketAddr::new(arguments.address, port(arguments)?);
    let listener = std::net::TcpListener::bind(address).map_err(|error| unlistenable(address, &error))?;
    let durability = match arguments.durability {
        ServedDurability::Sync => Durability::Sync,
        ServedDurability::Os => Durability::Os,
        ServedDurability::Async => Durability::Async,
    };
    let server = Arc::new(Server {
        database: open_to_serve(&arguments.database, durability)?,
        door,
        deadline: Duration::from_secs(arguments.deadline),
        is_quiet: arguments.quiet,
        seats: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        begun: Instant::now(),
        connections: AtomicUsize::new(0),
        requests: AtomicU64::new(0),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(CALLS_MAX)
        .build()
        .map_err(|error| unservable(&error))?;
    let served = runtime.block_on(listen(listener, Arc::clone(&server), arguments));
    runtime.shutdown_timeout(STOP_PATIENCE);
    // A call that outlasts all patience keeps the server, and with it the database, open.
    let closed = match Arc::try_unwrap(server) {
        Ok(server) => server.database.close(),
        Err(server) => server.database.flush(),
    };
    served?;
    closed?;
    say("Stopped; everything is on disk.");
    Ok(())
}

fn port(arguments: &ServeArguments) -> Result<u16> {
    let Some(text) = arguments.port.is_none().then(|| std::env::var_os("PORT")).flatten() else {
        return Ok(arguments.port.unwrap_or(PORT));
    };
    text.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
        let message = format!("PORT in the environment is {text:?}; a port is an integer from 0 to 65535.");
        Failure::new(Code::Usage, message)
    })
}

fn unlistenable(address: SocketAddr, error: &io::Error) -> Failure {
    let message = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("Port {} of {} is in use; --port takes another.", address.port(), address.ip())
        }
        _ => format!("Nothing can be served at {address}: {error}."),
    };
    Failure::new(Code::Refused, message)
}

fn unservable(error: &io::Error) -> Failure {
    Failure::new(Code::Refused, format!("The server cannot be started: {error}."))
}

/// Accepts connections until a signal says stop, and then waits for those that are open, for a while.
async fn listen(listener: std::net::TcpListener, server: Arc<Server>, arguments: &ServeArguments) -> Result<()> {
    let start = |listener: std::net::TcpListener| {
        listener.set_nonblocking(true)?;
        Ok((TcpListener::from_std(listener)?, Stop::new()?))
    };
    let (listener, mut stop) = start(listener).map_err(|error: io::Error| unservable(&error))?;
    announce(&listener, arguments)?;
    let connections = GracefulShutdown::new();
    loop {
        tokio::select! {
            (stream, seat) = accept(&listener, &server.seats) => {
                tokio::spawn(attend(stream, Arc::clone(&server), connections.watcher(), seat));
            }
            name = stop.asked_for() => {
                say(format!("Stopping, as {name} says."));
                break;
            }
        }
    }
    drop(listener);
    // Who is not done by then is cut off.
    let _ = timeout(STOP_PATIENCE, connections.shutdown()).await;
    Ok(())
}

/// Scripts read the address from standard output, once requests are served.
fn announce(listener: &TcpListener, arguments: &ServeArguments) -> Result<()> {
    let address = listener.local_addr().map_err(|error| unservable(&error))?;
    let mut out = io::stdout();
    // Nobody reading is no reason not to serve.
    let _ = writeln!(out, "http://{address}").and_then(|()| out.flush());
    let durability = match arguments.durability {
        ServedDurability::Sync => "a power cut",
        ServedDurability::Os => "a kill of the server",
        ServedDurability::Async => "a stop of the server",
    };
    let database = arguments.database.display();
    say(format!("Serving {database}; what is answered survives {durability}. Ctrl-C or SIGTERM stops it."));
    Ok(())
}

/// The signals that stop the server.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn new() -> io::Result<Stop> {
        Ok(Stop { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn asked_for(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// The next connection, once there is a seat for it.
async fn accept(listener: &TcpListener, seats: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let seat = Arc::clone(seats).acquire_owned().await.expect("the seats are never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, seat),
            Err(error) => {
                // Mostly too many open files: others close some, or the client is already gone.
                say(format!("A connection could not be accepted: {error}."));
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves one connection to its end.
async fn attend(stream: TcpStream, server: Arc<Server>, watcher: Watcher, seat: OwnedSemaphorePermit) {
    // Answers are small, and nobody waits for another one.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(server.deadline));
    let service = service_fn(|request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(respond(server, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // It runs while nothing comes, too.
        .header_read_timeout(server.deadline)
        .max_buf_size(HEAD_SIZE_MAX)
        .half_close(true)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    server.connections.fetch_add(1, Ordering::Relaxed);
    // Whatever ended it, there is nobody left to tell.
    let _ = watcher.watch(connection).await;
    server.connections.fetch_sub(1, Ordering::Relaxed);
    drop(seat);
}

/// All that requests share.
struct Server {
    database: Database,
    door: Door,
    deadline: Duration,
    is_quiet: bool,
    seats: Arc<Semaphore>,
    begun: Instant,
    connections: AtomicUsize,
    requests: AtomicU64,
}

impl Server {
    fn figures(&self) -> Value {
        json!({
            "version": diamonddb::VERSION,
            "uptime_s": self.begun.elapsed().as_secs(),
            "requests": self.requests.load(Ordering::Relaxed),
            "connections": self.connections.load(Ordering::Relaxed),
            "connections_max": CONNECTIONS_MAX,
        })
    }
}

/// Answers a request, and logs that in one line.
async fn respond(server: Arc<Server>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let answer = answer(&server, &head, body).await.unwrap_or_else(|refusal| refusal);
    server.requests.fetch_add(1, Ordering::Relaxed);
    if !server.is_quiet {
        log(&head, &answer, begun.elapsed());
    }
    let cross_origin = server.door.cross_origin_headers(&head.headers);
    let answer = cross_origin.into_iter().fold(answer, |answer, (name, value)| answer.with(name, value));
    answer.into_response()
}

/// When, method, path, status, bytes, time. A path has no line ends and no spaces: its parser saw to that.
fn log(head: &Parts, answer: &Answer, elapsed: Duration) {
    let now = jiff::Timestamp::now();
    let path = head.uri.path_and_query().map_or("*", |path| path.as_str());
    let (method, path, status) = (cut(head.method.as_str()), cut(path), answer.status.as_u16());
    let (size, milliseconds) = (answer.json.len(), elapsed.as_secs_f64() * 1e3);
    // In one piece, so that lines of several threads do not mix.
    let line = format!("{now:.3} {method} {path} {status} {size} B {milliseconds:.3} ms\n");
    let _ = io::stderr().write_all(line.as_bytes());
}

async fn answer(server: &Arc<Server>, head: &Parts, body: Incoming) -> std::result::Result<Answer, Answer> {
    let resource = match receive(server, head) {
        Ok(resource) => resource,
        Err(refusal) => return Err(dismiss(refusal, head, body, server.deadline).await),
    };
    let body = read(body, server.deadline).await?;
    if head.method == Method::OPTIONS {
        return Ok(options(&resource));
    }
    let (server, method, path) = (Arc::clone(server), head.method.clone(), head.uri.path().to_owned());
    let call = tokio::task::spawn_blocking(move || match method {
        Method::POST => resource.post(&server.database, &body, &path),
        _ => resource.get(&server.database, || server.figures()),
    });
    let defect = |_| Err(Answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, "A defect of the server ended this call."));
    call.await.unwrap_or_else(defect)
}

/// What a request wants, if its head says nothing that is refused.
fn receive(server: &Server, head: &Parts) -> std::result::Result<Resource, Answer> {
    let is_preflight = head.method == Method::OPTIONS && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    server.door.admit(head, is_preflight)?;
    let resource = Resource::at(&head.uri)?;
    resource.check(&head.method, head.uri.path())?;
    match head.headers.get(CONTENT_ENCODING).filter(|coding| *coding != "identity") {
        None => Ok(resource),
        Some(coding) => {
            let sentence =
                format!("The body is sent as {coding:?}; this server takes it as it is, without an encoding.");
            Err(Answer::refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence))
        }
    }
}

/// Lets the body of a refused request pass, so that its client hears the refusal and can go on. Who asked before
/// sending a body keeps it.
async fn dismiss(refusal: Answer, head: &Parts, body: Incoming, deadline: Duration) -> Answer {
    let is_over = !head.headers.contains_key(EXPECT) && read(body, deadline).await.is_ok();
    if is_over { refusal } else { refusal.closing() }
}

/// What may be done here; for a browser, what a page of an origin that was let in may send.
fn options(resource: &Resource) -> Answer {
    let methods = HeaderValue::from_static(resource.methods());
    Answer::new(StatusCode::NO_CONTENT, "")
        .with(ALLOW, methods.clone())
        .with(ACCESS_CONTROL_ALLOW_METHODS, methods)
        .with(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type"))
}

/// The whole body, if it is small enough and comes in time. Its Content-Type does not count: it has to be JSON.
async fn read(body: Incoming, deadline: Duration) -> std::result::Result<Vec<u8>, Answer> {
    let (status, sentence) = match timeout(deadline, collect(body)).await {
        Ok(Ok(Some(bytes))) => return Ok(bytes),
        Ok(Ok(None)) => {
            let sentence = format!("The body is larger than {BODY_SIZE_MAX} bytes; send it in parts.");
            (StatusCode::PAYLOAD_TOO_LARGE, sentence)
        }
        Ok(Err(error)) => (StatusCode::BAD_REQUEST, format!("The body broke off: {error}.")),
        Err(_) => {
            let sentence = format!("The body was not there within {} s.", deadline.as_secs());
            (StatusCode::REQUEST_TIMEOUT, sentence)
        }
    };
    Err(Answer::refusal(status, sentence).closing())
}

/// All bytes of a body; `None` if there are too many.
async fn collect(mut body: Incoming) -> hyper::Result<Option<Vec<u8>>> {
    let (mut bytes, mut size) = (Vec::new(), 0);
    if body.size_hint().lower() > READ_SIZE_MAX as u64 {
        return Ok(None);
    }
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        size += data.len();
        if size > READ_SIZE_MAX {
            break;
        }
        // What is refused only has to pass.
        match size <= BODY_SIZE_MAX {
            true => bytes.extend_from_slice(&data),
            false => bytes = Vec::new(),
        }
    }
    Ok((size <= BODY_SIZE_MAX).then_some(bytes))
}
