package emulator

import (
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"time"
)

// A door is an address on which the cloud listens, and every connection that came in through it. Its fields are guarded by
// the cloud's lock, address apart, which never changes once it is known.
type door struct {
	cloud    *Cloud
	to       endpoint
	name     string       // "DPS" or the hub's
	address  string       // host:port by which it is reached
	listenAt string       // host:port on which it listens
	listener net.Listener // nil while there is none
	listens  bool         // connections are accepted; a listener that keeps its address may be there without
	hole     io.Closer    // swallows what would connect
	frozen   bool
	slowness *Params // nil: not slow
	faults   afflictions
	links    map[*link]struct{}
	admitted int // numbers the links
}

func newDoor(c *Cloud, name string, to endpoint) *door {
	return &door{cloud: c, to: to, name: name, faults: afflictions{}, links: map[*link]struct{}{}}
}

// begin listens for the first time. Devices reach it by host.
func (d *door) begin(listenAt, host string) error {
	d.listenAt = listenAt
	err := d.open()
	if err != nil {
		return err
	}
	listens, _, _ := net.SplitHostPort(listenAt)
	_, port, err := net.SplitHostPort(d.listener.Addr().String())
	d.listenAt, d.address = net.JoinHostPort(listens, port), net.JoinHostPort(host, port)
	return err
}

// open listens; after a shut it does so on the same port again.
func (d *door) open() error {
	if d.cloud.isClosed() {
		return ErrClosed
	}
	if d.listens {
		return nil
	}
	if kept, ok := d.listener.(refuser); ok {
		if err := kept.Refuse(false); err != nil {
			return err
		}
		d.listens = true
		return nil
	}
	listener, err := d.cloud.config.Listen(d.listenAt)
	if err != nil {
		return err
	}
	if tcp, ok := listener.(*net.TCPListener); ok {
		listener = keepingPort(tcp)
	}
	d.listener, d.listens = listener, true
	d.cloud.running.Go(func() { d.accept(listener) })
	return nil
}

// shut refuses new connections and ends those there are. After it nothing leaves any more.
func (d *door) shut(how farewell) {
	d.refuse()
	d.fill()
	d.endAll(how)
}

// refuse keeps the port for the next open if the listener can do that. Once the cloud is closed, no port is kept.
func (d *door) refuse() {
	d.listens = false
	if d.listener == nil {
		return
	}
	if kept, ok := d.listener.(refuser); ok && !d.cloud.isClosed() && kept.Refuse(true) == nil {
		return
	}
	_ = d.listener.Close()
	d.listener = nil
}

// endAll ends the connections, those beyond a frozen line too.
func (d *door) endAll(how farewell) {
	d.frozen = false
	for _, l := range d.inOrder() {
		l.expel(how)
	}
}

func (d *door) inOrder() []*link {
	return slices.SortedFunc(maps.Keys(d.links), func(a, b *link) int { return a.number - b.number })
}

// freeze lets nothing pass on the connections there are and on those to come.
func (d *door) freeze() {
	d.frozen = true
	for _, l := range d.inOrder() {
		l.line.freeze()
	}
}

// revive is the end of every way to be dead.
func (d *door) revive() error {
	d.fill()
	if err := d.open(); err != nil {
		return err
	}
	d.frozen = false
	for _, l := range d.inOrder() {
		l.line.thaw()
	}
	return nil
}

func (d *door) accept(listener net.Listener) {
	for {
		raw, err := listener.Accept()
		if err == nil {
			d.admit(listener, raw)
			continue
		}
		if errors.Is(err, net.ErrClosed) || !d.has(listener) {
			return
		}
		time.Sleep(50 * time.Millisecond) // no file descriptors left, most likely
	}
}

func (d *door) has(listener net.Listener) bool {
	d.cloud.mu.Lock()
	defer d.cloud.mu.Unlock()
	return d.listener == listener
}

func (d *door) admit(listener net.Listener, raw net.Conn) {
	d.cloud.mu.Lock()
	defer d.cloud.mu.Unlock()
	if d.listener != listener || !d.listens { // shut since
		resetConn(raw)
		return
	}
	if d.cloud.hit(Flaky, d.faults) != nil {
		d.cloud.tell(KindRefused, d.name, "", "reset by chance")
		resetConn(raw)
		return
	}
	d.admitted++
	l := newLink(raw, d.certificate(), d.to, d.admitted)
	if d.frozen {
		l.line.freeze()
	}
	d.enlist(l)
	d.links[l] = struct{}{}
	d.cloud.running.Go(func() { d.serve(l) })
}

// enter locks the cloud for a packet that has come, once nothing keeps it from being heard.
func (c *Cloud) enter(l *link) error {
	for {
		c.mu.Lock()
		if !l.line.isFrozen() {
			return nil
		}
		c.mu.Unlock()
		if l.line.pass() != nil {
			return errGone
		}
	}
}

// serve owns one connection from its handshake to its end.
func (d *door) serve(l *link) {
	if err := l.shake(); err != nil {
		close(l.flushed) // nothing was started
		d.to.ended(l, "TLS handshake: "+err.Error())
	} else {
		go l.flush()
		d.to.ended(l, d.cloud.broker.serve(l))
	}
	l.bury()
	d.cloud.mu.Lock()
	delete(d.links, l)
	d.cloud.mu.Unlock()
}
