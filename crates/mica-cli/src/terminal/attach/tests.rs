//! The loop against a monitor played by the test.

use super::super::raw::tests::{TERMINAL, echoes, terminal_pair};
use super::*;
use crate::terminal::signals::SignalListener;
use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::consts::SIGUSR1;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::{PoisonError, mpsc};
use std::thread;
use std::time::Duration;

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC).unwrap()
}

fn send(socket: &mut UnixStream, kind: FrameKind, payload: &[u8]) {
    socket.write_all(&FrameHeader::new(kind, payload.len()).encode()).unwrap();
    socket.write_all(payload).unwrap();
}

fn receive(socket: &mut UnixStream) -> Option<(FrameKind, Vec<u8>)> {
    let mut header = [0; 8];
    socket.read_exact(&mut header).ok()?;
    let header = FrameHeader::decode(header).unwrap();
    let mut payload = vec![0; header.length];
    socket.read_exact(&mut payload).unwrap();
    Some((header.kind, payload))
}

fn silent<'a>() -> AttachOptions<'a> {
    AttachOptions {
        stdin: None,
        stdout: None,
        stderr: None,
        terminal: None,
        detach_keys: None,
        on_signal: None,
    }
}

/// Plays a container that runs `cat`, strictly in turn, so that a client that only writes or only
/// reads would be stuck.
fn play_cat(mut socket: UnixStream) {
    send(&mut socket, FrameKind::Started, b"");
    while let Some((kind, payload)) = receive(&mut socket) {
        match kind {
            FrameKind::Stdin => send(&mut socket, FrameKind::Stdout, &payload),
            FrameKind::StdinClose => break,
            other => panic!("unexpected {other:?}"),
        }
    }
    send(&mut socket, FrameKind::Stderr, b"done");
    send(&mut socket, FrameKind::Exit, &[0, 0, 0, 3, 1]);
}

#[test]
fn much_data_goes_through_cat_intact() {
    const LENGTH: usize = 48 << 20;
    let (client, monitor) = UnixStream::pair().unwrap();
    let ((stdin, feed), (drain, stdout), (errors, stderr)) = (pipe(), pipe(), pipe());
    let byte = |index: usize| (index.wrapping_mul(2_654_435_761) >> 13) as u8;
    let monitor = thread::spawn(|| play_cat(monitor));
    let writer =
        thread::spawn(move || File::from(feed).write_all(&(0..LENGTH).map(byte).collect::<Vec<_>>()));
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        File::from(drain).read_to_end(&mut all).map(|_| all)
    });
    let options = AttachOptions {
        stdin: Some(stdin.as_fd()),
        stdout: Some(stdout.as_fd()),
        stderr: Some(stderr.as_fd()),
        ..silent()
    };
    let end = attach_loop(&client, options).unwrap();
    drop((stdout, stderr));
    assert_eq!(end, AttachEnd::Exit { code: 3, out_of_memory: true });
    monitor.join().unwrap();
    writer.join().unwrap().unwrap();
    let all = reader.join().unwrap().unwrap();
    assert_eq!(all.len(), LENGTH);
    assert!(all.iter().enumerate().all(|(index, &seen)| seen == byte(index)));
    let mut words = String::new();
    File::from(errors).read_to_string(&mut words).unwrap();
    assert_eq!(words, "done");
}

#[test]
fn detaching_sends_what_was_typed_before() {
    let (client, mut monitor) = UnixStream::pair().unwrap();
    let (stdin, feed) = pipe();
    File::from(feed).write_all(b"ls\x10x\x10\x11never").unwrap();
    let options =
        AttachOptions { stdin: Some(stdin.as_fd()), detach_keys: Some(DetachKeys::default()), ..silent() };
    assert_eq!(attach_loop(&client, options).unwrap(), AttachEnd::Detached);
    assert_eq!(receive(&mut monitor), Some((FrameKind::Stdin, b"ls\x10x".to_vec())));
    assert_eq!(receive(&mut monitor), Some((FrameKind::Detach, vec![])));
}

#[test]
fn failures_and_losses_are_told_apart() {
    let (client, mut monitor) = UnixStream::pair().unwrap();
    send(&mut monitor, FrameKind::Failed, b"no such file");
    let failed = AttachEnd::Failed { message: "no such file".to_owned() };
    assert_eq!(attach_loop(&client, silent()).unwrap(), failed);
    send(&mut monitor, FrameKind::LeftBehind, &[]);
    assert_eq!(attach_loop(&client, silent()).unwrap(), AttachEnd::LeftBehind);
    drop(monitor);
    assert_eq!(attach_loop(&client, silent()).unwrap(), AttachEnd::Lost);
}

#[test]
fn a_closed_reader_ends_the_loop() {
    let (client, mut monitor) = UnixStream::pair().unwrap();
    let (drain, stdout) = pipe();
    drop(drain);
    send(&mut monitor, FrameKind::Stdout, b"x");
    let error = attach_loop(&client, AttachOptions { stdout: Some(stdout.as_fd()), ..silent() }).unwrap_err();
    assert!(error.is_closed_output());
}

#[test]
fn a_busy_reader_does_not_hold_up_the_input() {
    const OUTPUT: usize = 100 << 10;
    let (client, mut monitor) = UnixStream::pair().unwrap();
    let ((stdin, feed), (drain, stdout)) = (pipe(), pipe());
    let monitor = thread::spawn(move || {
        send(&mut monitor, FrameKind::Stdout, &vec![7; OUTPUT]);
        while rustix::io::ioctl_fionread(&drain).unwrap() < 64 << 10 {
            thread::yield_now();
        }
        // From here on the loop waits for a reader that does not come before the input has.
        File::from(feed).write_all(b"x").unwrap();
        let input = receive(&mut monitor);
        let close = receive(&mut monitor);
        let mut output = vec![0; OUTPUT];
        File::from(drain).read_exact(&mut output).unwrap();
        send(&mut monitor, FrameKind::Exit, &[0, 0, 0, 0, 0]);
        (input, close, output)
    });
    let options = AttachOptions { stdin: Some(stdin.as_fd()), stdout: Some(stdout.as_fd()), ..silent() };
    assert_eq!(attach_loop(&client, options).unwrap(), AttachEnd::Exit { code: 0, out_of_memory: false });
    let (input, close, output) = monitor.join().unwrap();
    assert_eq!(input, Some((FrameKind::Stdin, b"x".to_vec())));
    assert_eq!(close, Some((FrameKind::StdinClose, vec![])));
    assert!(output.iter().all(|byte| *byte == 7));
}

#[test]
fn a_terminal_is_raw_meanwhile_and_its_size_is_sent() {
    let _alone = TERMINAL.lock().unwrap_or_else(PoisonError::into_inner);
    let (controller, user) = terminal_pair();
    let size = rustix::termios::Winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&user, size).unwrap();
    let (client, mut monitor) = UnixStream::pair().unwrap();
    let watched = user.try_clone().unwrap();
    let monitor = thread::spawn(move || {
        let first = receive(&mut monitor);
        let raw = !echoes(&watched);
        // The controller stays open: without it the terminal is gone.
        File::from(controller.try_clone().unwrap()).write_all(b"\x03").unwrap();
        let second = receive(&mut monitor);
        send(&mut monitor, FrameKind::Exit, &[0, 0, 0, 0, 0]);
        (first, raw, second, controller)
    });
    let options = AttachOptions { stdin: Some(user.as_fd()), terminal: Some(user.as_fd()), ..silent() };
    assert_eq!(attach_loop(&client, options).unwrap(), AttachEnd::Exit { code: 0, out_of_memory: false });
    let (first, raw, second, _controller) = monitor.join().unwrap();
    assert!(echoes(&user));
    assert_eq!(first, Some((FrameKind::Resize, vec![0, 33, 0, 101])));
    assert!(raw);
    assert_eq!(second, Some((FrameKind::Stdin, vec![3])));
}

#[test]
fn signals_are_handed_over() {
    let _alone = TERMINAL.lock().unwrap_or_else(PoisonError::into_inner);
    // While one listener lives the signal has not its default effect, which would end the tests.
    let _listens = SignalListener::new(&[SIGUSR1]).unwrap();
    let (client, mut monitor) = UnixStream::pair().unwrap();
    let (sender, arrived) = mpsc::channel();
    let mut on_signal = |signal| {
        send(&mut monitor, FrameKind::Exit, &[0, 0, 0, 9, 0]);
        sender.send(signal).unwrap();
    };
    // The loop may not listen yet, so it is raised until one has arrived.
    let raised = thread::spawn(move || {
        loop {
            signal_hook::low_level::raise(SIGUSR1).unwrap();
            if let Ok(signal) = arrived.recv_timeout(Duration::from_millis(10)) {
                return (signal, arrived);
            }
        }
    });
    let options = AttachOptions { on_signal: Some(&mut on_signal), ..silent() };
    assert_eq!(attach_loop(&client, options).unwrap(), AttachEnd::Exit { code: 9, out_of_memory: false });
    assert_eq!(raised.join().unwrap().0, SIGUSR1);
}
