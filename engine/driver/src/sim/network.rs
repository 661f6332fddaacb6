//! The simulated kernel and network: the effect of each step.

use std::io;

use super::Sim;
use super::agenda::Step;
use super::faults::DELAY_NS_MAX;
use super::socket::{
    End, Kind, Link, Listener, MultishotState, Phase, Segment, Send, Socket, Stream, not_connected,
};
use crate::address::Address;
use crate::buffer::Lease;
use crate::contract::{Completion, CutSend, Event, Handle, ReceiveEnd, cancelled_send};
use crate::limits::LISTEN_BACKLOG;

/// The latest time after the handshake at which a connection fails that was chosen to fail.
const RESET_NS_MAX: u64 = 100_000_000;

/// How long a handshake waits that found the backlog full (Linux sends the SYN again after a second).
const SYN_AGAIN_NS: u64 = 1_000_000_000;

impl Sim {
    /// Runs all steps that are due now.
    pub(super) fn run_due(&mut self) {
        while let Some(step) = self.agenda.take_due(self.now_ns) {
            match step {
                Step::Handshake { handle, refused } => self.handshake(handle, refused),
                Step::Arrive(handle) => self.arrive(handle),
                Step::CarryOn(handle) => self.carry_on(handle),
                Step::Rearm(handle) => self.rearm(handle),
                Step::Cancel { handle, start } => self.cancelled(handle, start),
                Step::CancelSend { handle, number } => self.send_cancelled(handle, number),
                Step::Send(handle) => self.carry_on_send(handle),
                Step::BuffersBack => self.feed_starved(),
                Step::Reset(handle) => self.fail_connection(handle),
                Step::Complete(handle, event) => self.ready.push(Completion { handle, event }),
            }
        }
    }

    /// Makes `event` available, now or later. The events of one receive or accept, and `Closed`, keep their order.
    fn complete(&mut self, handle: Handle, event: Event) {
        let delay_ns = self.random_delay_ns(self.faults.delayed_completion);
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let mut due_ns = self.now_ns + delay_ns;
        match event {
            Event::Connected(_) | Event::Sent(..) => {}
            Event::Closed => due_ns = due_ns.max(socket.last_due_ns),
            _ => {
                due_ns = due_ns.max(socket.ordered_due_ns);
                socket.ordered_due_ns = due_ns;
            }
        }
        socket.last_due_ns = socket.last_due_ns.max(due_ns);
        self.agenda.at(due_ns, Step::Complete(handle, event));
    }

    fn stream_mut(&mut self, handle: Handle) -> Option<&mut Stream> {
        match &mut self.sockets.get_mut(handle)?.kind {
            Kind::Stream(stream) => Some(stream),
            Kind::Listener(_) => None,
        }
    }

    // Connections

    fn handshake(&mut self, handle: Handle, refused: bool) {
        let Some(stream) = self.stream_mut(handle) else { return };
        let (local, remote) = (stream.local.clone(), stream.remote.clone());
        if self.live(handle).is_err() {
            return;
        }
        let listener = self.listeners.get(&remote).filter(|_| !refused).map(|listeners| {
            let nth = if listeners.len() > 1 { self.random.up_to(listeners.len() as u64) - 1 } else { 0 };
            listeners[nth as usize]
        });
        let Some(listener) = listener else {
            let missing = matches!(&remote, Address::Unix(path) if !self.unix_paths.contains(path));
            let code = if missing { libc::ENOENT } else { libc::ECONNREFUSED };
            self.stream_mut(handle).expect("found above").phase = Phase::Failed;
            self.complete(handle, Event::Connected(Err(io::Error::from_raw_os_error(code))));
            return;
        };
        if self.listener_mut(listener).backlog.len() >= LISTEN_BACKLOG as usize {
            self.agenda.at(self.now_ns + SYN_AGAIN_NS, Step::Handshake { handle, refused });
            return;
        }
        let link = self.new_link();
        let mut accepted = Stream::new(remote, local, Phase::Connected, link);
        accepted.peer = Some(handle);
        let accepted = self.sockets.insert(Socket::new(Kind::Stream(Box::new(accepted))));
        self.listener_mut(listener).backlog.push_back(accepted);
        let stream = self.stream_mut(handle).expect("found above");
        stream.phase = Phase::Connected;
        stream.peer = Some(accepted);
        self.complete(handle, Event::Connected(Ok(())));
        self.carry_on_at(self.now_ns, listener);
        if self.random.chance(self.faults.reset) {
            let after_ns = self.random.up_to(RESET_NS_MAX);
            self.agenda.at(self.now_ns + after_ns, Step::Reset(handle));
        }
    }

    fn listener_mut(&mut self, handle: Handle) -> &mut Listener {
        match self.sockets.get_mut(handle).map(|socket| &mut socket.kind) {
            Some(Kind::Listener(listener)) => listener,
            _ => unreachable!("the table of listeners holds open listeners"),
        }
    }

    /// Sends `segment` to `stream` over the link of its sender. Returns the updated link.
    fn put_on_link(&mut self, link: Link, stream: Handle, segment: Segment) -> Link {
        let Some(receiver) = self.sockets.get_mut(stream) else { return link };
        let Kind::Stream(receiver) = &mut receiver.kind else { return link };
        let bytes = if let Segment::Data(bytes) = &segment { bytes.len() } else { 0 };
        let arrival_ns =
            (self.now_ns + link.latency_ns).max(link.last_arrival_ns) + bytes as u64 * link.ns_per_byte;
        receiver.incoming.in_flight.push_back((arrival_ns, segment));
        receiver.incoming.in_flight_bytes += bytes;
        self.agenda.at(arrival_ns, Step::Arrive(stream));
        Link { last_arrival_ns: arrival_ns, ..link }
    }

    fn send_segment(&mut self, sender: Handle, segment: Segment) {
        let Some(stream) = self.stream_mut(sender) else { return };
        let (Some(peer), link) = (stream.peer, stream.link) else { return };
        let link = self.put_on_link(link, peer, segment);
        self.stream_mut(sender).expect("found above").link = link;
    }

    pub(super) fn send_fin(&mut self, sender: Handle) {
        let stream = self.stream_mut(sender).expect("the caller's stream");
        if !std::mem::replace(&mut stream.shut, true) {
            self.send_segment(sender, Segment::Fin);
        }
    }

    fn arrive(&mut self, handle: Handle) {
        let now_ns = self.now_ns;
        let Some(stream) = self.stream_mut(handle) else { return };
        let incoming = &mut stream.incoming;
        let Some((_, segment)) = incoming.in_flight.pop_front_if(|(arrival_ns, _)| *arrival_ns <= now_ns)
        else {
            return;
        };
        match segment {
            Segment::Data(bytes) => {
                incoming.in_flight_bytes -= bytes.len();
                incoming.buffered.extend(bytes);
            }
            Segment::Fin => incoming.end = incoming.end.or(Some(End::Eof)),
            Segment::Reset => {
                incoming.end = Some(End::Reset);
                stream.reset = true;
                self.send_at(now_ns, handle);
            }
        }
        self.carry_on_at(now_ns, handle);
    }

    /// Makes both ends fail now. The data in flight between them is lost.
    fn fail_connection(&mut self, handle: Handle) {
        let Some(stream) = self.stream_mut(handle).filter(|stream| stream.phase == Phase::Connected) else {
            return;
        };
        let peer = stream.peer;
        for end in [Some(handle), peer].into_iter().flatten() {
            let Some(stream) = self.stream_mut(end) else { continue };
            stream.peer = None;
            stream.incoming.in_flight.clear();
            stream.incoming.in_flight_bytes = 0;
            stream.incoming.end = Some(End::Reset);
            stream.reset = true;
            self.carry_on_at(self.now_ns, end);
            self.send_at(self.now_ns, end);
        }
    }

    pub(super) fn close_socket(&mut self, handle: Handle) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        socket.closing = true;
        match &mut socket.kind {
            Kind::Stream(stream) => {
                stream.send = None;
                self.disconnect(handle);
            }
            Kind::Listener(listener) => {
                let backlog = std::mem::take(&mut listener.backlog);
                let address = listener.address.clone();
                if let Some(listeners) = self.listeners.get_mut(&address) {
                    listeners.retain(|other| *other != handle);
                    if listeners.is_empty() {
                        self.listeners.remove(&address);
                    }
                }
                for stream in backlog {
                    self.abandon(stream);
                }
            }
        }
        self.complete(handle, Event::Closed);
    }

    /// Closes a connection that was never accepted.
    pub(super) fn abandon(&mut self, stream: Handle) {
        // A reset tells the peer that its data will not be read (tcp(7), RFC 9293 section 3.5.2).
        self.send_segment(stream, Segment::Reset);
        if let Some(stream) = self.stream_mut(stream) {
            stream.shut = true;
        }
        self.disconnect(stream);
        self.sockets.remove(stream);
    }

    /// Disconnects a closing stream from its peer.
    fn disconnect(&mut self, handle: Handle) {
        let Some(stream) = self.stream_mut(handle) else { return };
        // RFC 9293 section 3.10.4, RFC 2525 section 2.17: a close with unread data sends a reset, so that the peer
        // learns that not all of it was read.
        if stream.incoming.len() > 0 || stream.resets_at_close {
            self.send_segment(handle, Segment::Reset);
        } else {
            self.send_fin(handle);
        }
        let stream = self.stream_mut(handle).expect("found above");
        if let Some(peer) = stream.peer.take().and_then(|peer| self.stream_mut(peer)) {
            peer.peer = None;
        }
    }

    // Receiving and accepting

    /// Schedules a receive or accept to take what is available, if it is not scheduled yet.
    pub(super) fn carry_on_at(&mut self, due_ns: u64, handle: Handle) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        if socket.multishot.state == MultishotState::Armed && !socket.multishot.scheduled {
            socket.multishot.scheduled = true;
            self.agenda.at(due_ns, Step::CarryOn(handle));
        }
    }

    fn carry_on(&mut self, handle: Handle) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        socket.multishot.scheduled = false;
        if socket.closing || socket.multishot.state != MultishotState::Armed {
            return;
        }
        match socket.kind {
            Kind::Stream(_) => self.carry_on_receive(handle),
            Kind::Listener(_) => self.carry_on_accept(handle),
        }
    }

    /// Delivers one piece. A further step delivers the rest, so that sockets take turns to use the buffers.
    fn carry_on_receive(&mut self, handle: Handle) {
        let stream = self.stream_mut(handle).expect("checked by the caller");
        if stream.incoming.buffered.is_empty() {
            match stream.incoming.end {
                None => {}
                Some(End::Eof) => self.end_multishot(handle, Event::ReceiveEnded(ReceiveEnd::Eof)),
                Some(End::Reset) => {
                    let error = io::Error::from_raw_os_error(libc::ECONNRESET);
                    self.end_multishot(handle, Event::ReceiveEnded(ReceiveEnd::Error(error)));
                }
            }
            return;
        }
        if self.pauses(handle) {
            return;
        }
        // Only one shortage of buffers at a time. Its end wakes all waiting receives, and the number of shortages would
        // multiply if each of them could start another one.
        if self.now_ns >= self.dry_until_ns && self.random.chance(self.faults.no_buffers) {
            self.dry_until_ns = self.now_ns + self.random.up_to(DELAY_NS_MAX);
            self.agenda.at(self.dry_until_ns, Step::BuffersBack);
        }
        if self.now_ns < self.dry_until_ns || self.free.is_empty() {
            self.starved.push_back(handle);
            return;
        }
        let lease = self.take_piece(handle);
        self.complete(handle, Event::Received(lease));
        self.carry_on_at(self.now_ns, handle);
        // The peer's send has room again.
        if let Some(peer) = self.stream_mut(handle).and_then(|stream| stream.peer) {
            self.send_at(self.now_ns, peer);
        }
    }

    /// Moves a piece of the received data into a buffer. The caller has checked that there are data and a free buffer.
    fn take_piece(&mut self, handle: Handle) -> Lease {
        let Some(Kind::Stream(stream)) = self.sockets.get_mut(handle).map(|socket| &mut socket.kind) else {
            unreachable!("the caller's stream")
        };
        let mut len = stream.incoming.buffered.len().min(self.pool.buffer_size() as usize);
        if self.random.chance(self.faults.cut_receive) {
            len = self.random.up_to(len as u64) as usize;
        }
        let piece: Vec<u8> = stream.incoming.buffered.drain(..len).collect();
        let index = self.free.pop().expect("checked by the caller");
        if self.free.len() < self.reserve {
            self.free.push(index);
            return Lease::copied(&piece);
        }
        // SAFETY: `index` was in `free`, which contains each buffer of this driver at most once: all of them at first,
        // later those that the pool reports as returned. So no lease of this buffer is alive, and nothing else reads or
        // writes it. `address` is valid for `buffer_size` bytes. `len` is at most `buffer_size`, and all `len` bytes
        // are written here before the buffer is lent.
        unsafe {
            self.pool.address(index).as_ptr().copy_from_nonoverlapping(piece.as_ptr(), len);
            self.pool.lend(index, len as u32)
        }
    }

    fn carry_on_accept(&mut self, listener: Handle) {
        if self.listener_mut(listener).backlog.is_empty() || self.pauses(listener) {
            return;
        }
        if self.random.chance(self.faults.no_descriptors) {
            let error = io::Error::from_raw_os_error(libc::EMFILE);
            self.end_multishot(listener, Event::AcceptEnded(Some(error)));
            return;
        }
        if let Some(stream) = self.listener_mut(listener).backlog.pop_front() {
            self.complete(listener, Event::Accepted(stream));
            self.carry_on_at(self.now_ns, listener);
        }
    }

    /// Returns whether the kernel ends the multishot now without a reason. It is armed again later.
    fn pauses(&mut self, handle: Handle) -> bool {
        let delay_ns = self.random_delay_ns(self.faults.lost_more);
        if delay_ns == 0 {
            return false;
        }
        self.sockets.get_mut(handle).expect("checked by the caller").multishot.state = MultishotState::Paused;
        self.agenda.at(self.now_ns + delay_ns, Step::Rearm(handle));
        true
    }

    fn rearm(&mut self, handle: Handle) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        if socket.multishot.state == MultishotState::Paused {
            socket.multishot.state = MultishotState::Armed;
            self.carry_on_at(self.now_ns, handle);
        }
    }

    pub(super) fn end_multishot(&mut self, handle: Handle, event: Event) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        socket.multishot.state = MultishotState::Ended;
        self.complete(handle, event);
    }

    /// Ends the multishot with this start number, unless it has ended by itself.
    pub(super) fn cancelled(&mut self, handle: Handle, start: u64) {
        let Ok(socket) = self.live(handle) else { return };
        if socket.multishot.starts == start && socket.multishot.is_running() {
            let event = match socket.kind {
                Kind::Stream(_) => Event::ReceiveEnded(ReceiveEnd::Cancelled),
                Kind::Listener(_) => Event::AcceptEnded(None),
            };
            self.end_multishot(handle, event);
        }
    }

    /// Takes back the buffers of dropped leases.
    pub(super) fn buffers_back(&mut self) {
        if self.pool.has_returned() {
            let free = &mut self.free;
            self.pool.take_returned(|index| free.push(index));
            self.feed_starved();
        }
    }

    fn feed_starved(&mut self) {
        for handle in std::mem::take(&mut self.starved) {
            self.carry_on_at(self.now_ns, handle);
        }
    }

    // Sending

    /// Schedules a send that is under way to look for room, if it is not scheduled yet.
    fn send_at(&mut self, due_ns: u64, handle: Handle) {
        let Some(stream) = self.stream_mut(handle) else { return };
        if let Some(Send::UnderWay { scheduled, .. }) = &mut stream.send
            && !std::mem::replace(scheduled, true)
        {
            self.agenda.at(due_ns, Step::Send(handle));
        }
    }

    /// Lets the kernel take a skip-success send now. If it does not take all of it, the rest becomes an ordinary send.
    pub(super) fn hand_over_skip_success(&mut self, handle: Handle) {
        let send = self.stream_mut(handle).and_then(|stream| stream.send.as_ref());
        if !matches!(send, Some(Send::UnderWay { skip_success: true, .. })) {
            return;
        }
        self.carry_on_send(handle);
        if let Some(Send::UnderWay { skip_success, .. }) =
            self.stream_mut(handle).and_then(|stream| stream.send.as_mut())
        {
            *skip_success = false;
            self.waiting.push(handle);
        }
    }

    pub(super) fn carry_on_send(&mut self, handle: Handle) {
        let Some(stream) = self.stream_mut(handle) else { return };
        let Some(Send::UnderWay { buffer, taken, scheduled, .. }) = &mut stream.send else { return };
        *scheduled = false;
        let (left, taken_before) = (buffer.len() - *taken, *taken);
        if stream.phase != Phase::Connected {
            return self.end_send(handle, Err(not_connected()));
        }
        if stream.shut || stream.reset {
            let code = if stream.shut { libc::EPIPE } else { libc::ECONNRESET };
            return self.end_send(handle, Err(io::Error::from_raw_os_error(code)));
        }
        if left == 0 {
            return self.end_send(handle, Ok(()));
        }
        let Some(peer) = stream.peer else { return self.send_to_nobody(handle) };
        let used = self.stream_mut(peer).map_or(0, |peer| peer.incoming.len());
        let mut len = left.min(self.socket_buffer_size.saturating_sub(used));
        if len == 0 {
            return;
        }
        let short = self.random.chance(self.faults.short_send);
        if short {
            len = self.random.up_to(len as u64) as usize;
        }
        let stream = self.stream_mut(handle).expect("found above");
        let Some(Send::UnderWay { buffer, taken, .. }) = &mut stream.send else {
            unreachable!("found above")
        };
        let mut piece = Vec::with_capacity(len);
        for part in buffer.pieces_from(taken_before) {
            piece.extend_from_slice(&part[..part.len().min(len - piece.len())]);
        }
        *taken += len;
        self.send_segment(handle, Segment::Data(piece));
        if len == left {
            self.end_send(handle, Ok(()));
        } else if short {
            let later_ns = self.now_ns + self.random.up_to(DELAY_NS_MAX);
            self.send_at(later_ns, handle);
        }
    }

    /// Sends to a peer that has closed. Over TCP the send succeeds, and the peer responds with a reset. A Unix socket
    /// fails at once (unix(7)).
    fn send_to_nobody(&mut self, handle: Handle) {
        let stream = self.stream_mut(handle).expect("the caller's stream");
        if let Address::Unix(_) = stream.local {
            return self.end_send(handle, Err(io::Error::from_raw_os_error(libc::EPIPE)));
        }
        let link = stream.link;
        self.put_on_link(link, handle, Segment::Reset);
        self.end_send(handle, Ok(()));
    }

    /// Cancels the send with this number, if it is still under way.
    pub(super) fn send_cancelled(&mut self, handle: Handle, number: u64) {
        let Some(stream) = self.stream_mut(handle) else { return };
        if matches!(stream.send, Some(Send::UnderWay { number: current, .. }) if current == number) {
            self.end_send(handle, Err(cancelled_send()));
        }
    }

    fn end_send(&mut self, handle: Handle, result: io::Result<()>) {
        let Some(stream) = self.stream_mut(handle) else { return };
        let Some(Send::UnderWay { buffer, taken, skip_success, .. }) = stream.send.take() else { return };
        let result = result.map_err(|error| CutSend { sent_size: taken, error });
        if skip_success && result.is_ok() {
            return;
        }
        stream.send = Some(Send::Ended);
        self.complete(handle, Event::Sent(result, buffer));
    }
}
