//! A client of ipc-channel in Rust, and around it a testee for the conformance suite.
//!
//!     cargo build --release
//!     ipc-channel conformance --transport tcp -- target/release/testee
//!
//! Ids such as RDV-43 are requirements of the specification: FRM in spec/framing.md, RDV in
//! spec/rendezvous.md, SES in spec/session.md, ERR in spec/errors.md.

mod support;

use std::fmt::Display;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use std::{env, thread};
use support::{quoted, Json, Sha256};

// TODO: say what else your client can do: named_pipe, max_message_size, linger,
// concurrent (SES-11, SES-20, SES-33), cancel (SES-10, SES-21).
const CAN: &str = "\"tcp\"";
const LIMIT: usize = 64 << 20; // FRM-6

/// An error with one of the codes of spec/errors.md.
struct Error {
    code: &'static str,
    text: String,
}

/// Returns a function that makes an error of what the system says.
fn coded<T: Display>(code: &'static str) -> impl Fn(T) -> Error {
    move |text| Error {
        code,
        text: text.to_string(),
    }
}

// ---- Your client: connect, read, write, close. This one does the simplest thing over TCP.

/// A connection to the server.
struct Channel {
    /// The end reason, once there is one.
    end: Option<&'static str>,
    /// None once it is closed.
    stream: Option<BufReader<TcpStream>>,
}

impl Channel {
    /// Connects, and tries again until the timeout (RDV-9, RDV-43).
    fn connect(input: &str, output: &str, timeout: Duration) -> Result<Self, Error> {
        // TODO RDV-1, RDV-6, RDV-20 to RDV-38: named pipes.
        // TODO RDV-12: pause for 1 ms first, then twice as long each time, up to 20 ms.
        // TODO RDV-14: other errors. RDV-44: not to itself. RDV-45: TCP_NODELAY. RDV-49: a reset is an end.
        let port = port_of(input).filter(|_| input == output);
        let nowhere =
            || coded("bad-rendezvous")(format!("{input:?} and {output:?} lead to no server"));
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port.ok_or_else(nowhere)?));
        let start = Instant::now();
        loop {
            match TcpStream::connect_timeout(&server, Duration::from_secs(1)) {
                Ok(stream) => {
                    return Ok(Self {
                        end: None,
                        stream: Some(BufReader::new(stream)),
                    })
                }
                Err(error) => match error.kind() {
                    ErrorKind::ConnectionRefused | ErrorKind::TimedOut => {}
                    _ => return Err(coded("other")(error)),
                },
            }
            if start.elapsed() >= timeout {
                return Err(coded("timeout")(format!("no server at {server}")));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns a message, or None at an orderly end; an end stays (SES-1).
    fn read(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if self.end.is_none() {
            match self.read_frame() {
                Ok(message) => return Ok(Some(message)),
                Err(end) => self.end = Some(end),
            }
        }
        let error = |code| Err(coded(code)("the session has ended"));
        match self.end {
            Some("truncated") => error("truncated"),
            Some("reset") => error("reset"),
            Some("too_large") => error("too-large"),
            _ => Ok(None),
        }
    }

    /// Returns a message, or the end reason.
    fn read_frame(&mut self) -> Result<Vec<u8>, &'static str> {
        // TODO SES-3: an end of the stream after a write has met a reset is a reset.
        let stream = self.stream.as_mut().ok_or("local")?;
        if stream.fill_buf().map_err(end_of)?.is_empty() {
            return Err("eof");
        }
        let mut header = [0; 4];
        stream.read_exact(&mut header).map_err(end_of)?;
        let size = u32::from_be_bytes(header) as usize;
        if size == 0 {
            return Err("clean"); // FRM-3
        }
        if size > LIMIT {
            return Err("too_large"); // FRM-8
        }
        let mut message = vec![0; size];
        stream.read_exact(&mut message).map_err(end_of)?;
        Ok(message)
    }

    /// Sends a message.
    fn write(&mut self, message: &[u8]) -> Result<(), Error> {
        // TODO FRM-4, FRM-7: refuse an empty message, and one over the limit.
        // TODO SES-26: nothing can be sent after a reset, too-large or a failed write.
        let closed = || coded("closed")("the channel is closed");
        let stream = self.stream.as_mut().ok_or_else(closed)?.get_mut();
        let frame = [&(message.len() as u32).to_be_bytes(), message].concat();
        stream.write_all(&frame).map_err(coded("peer-gone"))
    }

    /// Sends the close frame (SES-31) and frees the socket (SES-32).
    fn close(&mut self) {
        // TODO SES-34, SES-60 to SES-62: meanwhile read and drop what the peer sends.
        // TODO SES-50 to SES-52: not for longer than the linger.
        // TODO SES-36: send nothing after a reset or a failed write.
        // TODO RDV-48: not before the server has let this client in.
        // SES-30: if it is closed already, there is nothing to do.
        let Some(mut stream) = self.stream.take() else {
            return;
        };
        self.end.get_or_insert("local");
        let _ = stream.get_mut().write_all(&[0; 4]);
        let _ = stream.get_ref().shutdown(Shutdown::Write); // SES-35
    }
}

/// Returns a port from 1 to 65535.
fn port_of(text: &str) -> Option<u16> {
    // TODO RDV-4: the other hosts. RDV-5: all that is refused here stays refused.
    let port = text.strip_prefix("127.0.0.1:").unwrap_or(text);
    let number: u16 = port.parse().ok()?;
    (number > 0 && number.to_string() == port).then_some(number)
}

/// Returns the end reason that an error stands for.
fn end_of(error: io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::UnexpectedEof => "truncated", // FRM-10
        _ => "reset",
    }
}

// ---- The control language (spec/conformance.md), one request at a time. It is complete.

type Done = Result<(), Error>;

/// Does what it is told. A request adds to its answer as far as it comes.
struct Testee {
    channel: Option<Channel>,
}

fn main() -> io::Result<()> {
    let mut testee = Testee { channel: None };
    say(&format!(
        r#""language": 1, "name": "my client", "version": "0.1", "can": [{CAN}]"#
    ))?;
    for line in io::stdin().lines() {
        let line = line?;
        let request = Json(&line);
        let mut answer = format!(r#""id": {}"#, request.number("id").unwrap());
        testee.serve(&request, &mut answer);
        say(&answer)?;
    }
    testee.close();
    Ok(())
}

fn say(fields: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{{{fields}}}")?;
    output.flush()
}

impl Testee {
    fn serve(&mut self, request: &Json, answer: &mut String) {
        let told = request.string("do").unwrap();
        let done = match told.as_str() {
            "connect" => self.connect(request),
            "read" => self.read(answer),
            "write" => self.write(request),
            "drain" => self.drain(answer),
            "echo" => self.echo(answer),
            "close" => {
                self.close();
                Ok(())
            }
            _ => panic!("told something unknown: {told}"), // a mistake of the suite
        };
        if let Err(Error { code, text }) = done {
            *answer += &format!(r#", "error": "{code}", "text": {}"#, quoted(&text));
        }
        let end = self.channel.as_ref().and_then(|channel| channel.end);
        if let (Some(end), "read" | "drain" | "echo") = (end, told.as_str()) {
            *answer += &format!(r#", "end": "{end}""#);
        }
    }

    fn connect(&mut self, request: &Json) -> Done {
        // TODO: max_message_size (FRM-11) and linger (SES-50); bad-option if out of range.
        self.close();
        self.channel = None; // also if this one fails
        let seconds = request.number("timeout").unwrap_or(10.0);
        let timeout = Duration::try_from_secs_f64(seconds).map_err(coded("bad-option"))?;
        let (input, output) = match (request.string("in"), request.string("out")) {
            (Some(input), Some(output)) => (input, output),
            _ => (variable("IPC_CHANNEL_IN")?, variable("IPC_CHANNEL_OUT")?),
        };
        self.channel = Some(Channel::connect(&input, &output, timeout)?);
        Ok(())
    }

    fn read(&mut self, answer: &mut String) -> Done {
        if let Some(message) = self.connected()?.read()? {
            let mut hash = Sha256::new();
            hash.update(&message);
            let (size, hash) = (message.len(), hash.hex());
            *answer += &format!(r#", "message": {{"size": {size}, "sha256": "{hash}"}}"#);
        }
        Ok(())
    }

    fn write(&mut self, request: &Json) -> Done {
        let hex = request.string("pattern").unwrap();
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let pattern: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let sizes = request.numbers("sizes").unwrap();
        let count = request.number("count").unwrap_or(sizes.len() as f64);
        for size in sizes.iter().cycle().take(count as usize) {
            let message: Vec<u8> = pattern.iter().copied().cycle().take(*size).collect();
            self.connected()?.write(&message)?;
        }
        Ok(())
    }

    fn drain(&mut self, answer: &mut String) -> Done {
        let mut hash = Sha256::new();
        let done = self.for_each_message(answer, |_, message| {
            hash.update(&(message.len() as u32).to_be_bytes())
                .update(message);
            Ok(())
        });
        *answer += &format!(r#", "sha256": "{}""#, hash.hex());
        done
    }

    fn echo(&mut self, answer: &mut String) -> Done {
        self.for_each_message(answer, |channel, message| channel.write(message))
    }

    fn for_each_message(
        &mut self,
        answer: &mut String,
        mut work: impl FnMut(&mut Channel, &[u8]) -> Done,
    ) -> Done {
        let channel = self.connected()?;
        let mut count = 0;
        let mut until_end = || {
            while let Some(message) = channel.read()? {
                work(channel, &message)?;
                count += 1;
            }
            Ok(())
        };
        let done = until_end();
        *answer += &format!(r#", "messages": {count}"#);
        done
    }

    fn close(&mut self) {
        if let Some(channel) = &mut self.channel {
            channel.close();
        }
    }

    fn connected(&mut self) -> Result<&mut Channel, Error> {
        let missing = || coded("not-connected")("there is no channel");
        self.channel.as_mut().ok_or_else(missing)
    }
}

/// Returns a variable of the environment (RDV-7).
fn variable(name: &str) -> Result<String, Error> {
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    value.ok_or_else(|| coded("bad-rendezvous")(format!("{name} is not set"))) // RDV-8
}
