// Package emulator is a small cloud on one machine: a Device Provisioning Service, IoT hubs, and
// the faults that it can inject (the giant lizard). It refuses what public documents or reports say
// that the services refuse, and each rule names its source. It accepts what the documents do not
// describe, and emits a note. It keeps a ledger of all telemetry that its hubs stored.
//
// The emulator shares no code with the device, so that it is a second opinion about the wire. It
// behaves the same over real sockets and, with Config.Listen, over lab/memnet inside a
// testing/synctest bubble.
package emulator

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// ErrClosed is the error of every method of a closed Cloud.
var ErrClosed = errors.New("emulator: closed")

// A Cloud is a running emulator. Its methods may be called from any goroutine.
type Cloud struct {
	config   Config
	groupKey []byte
	identity *identity
	broker   *broker
	running  sync.WaitGroup // counts all goroutines

	mu           sync.Mutex // guards the fields below, and all fields of the hubs and devices
	closed       chan struct{}
	started      time.Time
	dps          *dps
	hubs         []*hub
	devices      map[string]*device
	defaultHub   *hub // the hub that DPS assigns to new devices, unless their enrollment says otherwise
	provisioning *provisioning
	ledger       ledger
	violations   []string
	noted        map[[3]string]bool // the emitted notes, by place, device and sentence
	events       eventQueue
	data         *data // writes the data file; nil means that nothing is saved
	serial       int   // the last number of an operation, tracking ID or method
	versions     int   // the last number of an ETag of the service API
}

// Start starts a cloud. The caller must Close it.
func Start(config Config) (*Cloud, error) {
	config, groupKey, err := config.complete()
	if err != nil {
		return nil, fmt.Errorf("emulator: configuration: %w", err)
	}
	c := &Cloud{
		config: config, groupKey: groupKey, broker: newBroker(), closed: make(chan struct{}), started: time.Now(),
		devices: map[string]*device{}, ledger: newLedger(config.LedgerLimit), events: newEventQueue(),
		noted: map[[3]string]bool{},
	}
	c.provisioning = newProvisioning(c)
	if c.identity, err = newIdentity(config.AuthorityFile, config.certificateNames()); err != nil {
		return nil, fmt.Errorf("emulator: certificates: %w", err)
	}
	if err := c.open(); err != nil {
		c.Close()
		return nil, fmt.Errorf("emulator: %w", err)
	}
	if !config.WriteLater {
		c.StartSaving()
	}
	return c, nil
}

// StartSaving starts to write Config.DataFile and Config.AuthorityFile. Start calls it unless
// Config.WriteLater is set. It may be called once.
func (c *Cloud) StartSaving() {
	c.startSavingData()
	c.saveIdentity()
}

// saveIdentity writes a new certificate authority to its file. On an error it only emits a note,
// because the emulator works without the file.
func (c *Cloud) saveIdentity() {
	c.mu.Lock()
	defer c.unlock()
	if why := c.identity.replaced; why != nil {
		c.emit(KindNote, "", "", "the certificate authority in %s cannot be used (%v); the emulator has made a new one",
			c.config.AuthorityFile, why)
	}
	if c.identity.save == nil {
		return
	}
	if err := c.identity.save(); err != nil {
		c.emit(KindNote, "", "", "the certificate authority cannot be saved for the next start: %v", err)
	}
}

func (c *Cloud) open() error {
	c.mu.Lock()
	defer c.unlock()
	c.dps = newDPS(c)
	for _, name := range c.config.Hubs {
		c.hubs = append(c.hubs, newHub(c, name))
	}
	c.defaultHub = c.hubs[0]
	if err := c.loadData(); err != nil { // must end before a client can connect
		return err
	}
	if err := c.dps.frontend.start(c.config.addressOf(0), c.config.hostOf(0)); err != nil {
		return err
	}
	for i, h := range c.hubs {
		if err := h.frontend.start(c.config.addressOf(i+1), c.config.hostOf(i+1)); err != nil {
			return err
		}
		h.address = h.frontend.address
		h.host = h.address
		if c.config.OwnAddresses {
			h.host = c.config.hostOf(i + 1)
		}
	}
	return nil
}

// Close ends all connections and waits for all goroutines. A second Close does nothing.
func (c *Cloud) Close() error {
	c.mu.Lock()
	select {
	case <-c.closed:
	default:
		if c.data != nil {
			c.data.last, c.data.lastErr = c.snapshot()
		}
		close(c.closed)
		c.closeAll()
	}
	c.unlock()
	c.running.Wait()
	return nil
}

func (c *Cloud) closeAll() {
	if c.dps != nil {
		c.dps.endSessions("the emulator is closing")
		c.dps.frontend.close(closeNow)
	}
	for _, h := range c.hubs {
		h.endSessions("the emulator is closing")
		h.frontend.close(closeNow)
	}
	for _, d := range c.devices {
		d.queue.stop()
		d.endFailover()
		d.operation.stop()
	}
	if c.dps != nil {
		for _, t := range c.targets() {
			for _, a := range t.faults() {
				a.stop()
			}
		}
	}
}

func (c *Cloud) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// DPSHost returns the address of the Device Provisioning Service, as host:port.
func (c *Cloud) DPSHost() string { return c.dps.frontend.address }

// DPSName returns the name of DPS that a client is given, in the form of the names of the hubs:
// host:port, or the host alone with Config.OwnAddresses.
func (c *Cloud) DPSName() string {
	if c.config.OwnAddresses {
		return c.config.hostOf(0)
	}
	return c.DPSHost()
}

// IDScope and GroupKey return the ID scope and the group key that a device needs to register. The key
// is base64.
func (c *Cloud) IDScope() string  { return c.config.IDScope }
func (c *Cloud) GroupKey() string { return c.config.GroupKey }

// CAPEM and CAPool return the certificate authority that signed the servers' certificate.
func (c *Cloud) CAPEM() []byte          { return append([]byte(nil), c.identity.pem...) }
func (c *Cloud) CAPool() *x509.CertPool { return c.identity.pool.Clone() }

// Certificate returns the certificate of DPS and the hubs, with its key. It is valid for localhost,
// 127.0.0.1, ::1, the hosts of the configuration, the names of the hubs, and dps.localhost,
// hub-a.localhost and so on.
func (c *Cloud) Certificate() tls.Certificate { return c.identity.server.Certificates[0] }

// Hub returns the address of a hub as host:port, or "" if there is no hub of this name.
func (c *Cloud) Hub(name string) string {
	if h, err := c.hub(name); err == nil {
		return h.address
	}
	return ""
}

func (c *Cloud) hub(name string) (*hub, error) {
	for _, h := range c.hubs {
		if h.name == name {
			return h, nil
		}
	}
	return nil, fmt.Errorf("emulator: no hub is named %q; there are %s", name, strings.Join(c.config.Hubs, ", "))
}
