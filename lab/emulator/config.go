package emulator

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The default ID scope and group key. They are public, so they are for development only.
const (
	DevelopmentIDScope  = "0ne00FA110E"
	DevelopmentGroupKey = "ZmFpbG92ZXIgZGV2ZWxvcG1lbnQgZ3JvdXAga2V5OiBwdWJsaWMsIHdvcnRobGVzcywgbmV2ZXIgZm9yIHVzZQ=="
)

// The values of Config.AnswerDelay. Microsoft's SDK for Java misses some of the answers that come
// without a delay, because it publishes a request before it begins to wait for the answer.
const (
	DefaultAnswerDelay = 50 * time.Millisecond
	NoAnswerDelay      = -1
)

// A Config configures a Cloud. The zero value is valid.
type Config struct {
	// Listen opens a listener on an address. Nil means real TCP.
	Listen func(address string) (net.Listener, error)
	// Host is the host by which devices reach DPS and the hubs. The certificate and the
	// hub names that DPS assigns contain it. Empty means "127.0.0.1".
	Host string
	// ListenHost is the address to listen on. Empty means Host; 0.0.0.0 and :: mean all addresses
	// of the machine.
	ListenHost string
	// AnyAddress allows the emulator to listen on an address that is not loopback.
	AnyAddress bool
	// DataFile saves devices, twins and queued messages for the next start. Only its owner may read
	// it. Changes of the last 0.1 s before a kill may be missing. Only one cloud at a time may use
	// the file. Empty means that nothing is saved.
	DataFile string
	// AuthorityFile saves the certificate authority and its key for the next start. Only its owner
	// may read it. Empty means that each start makes a new authority.
	AuthorityFile string
	// WriteLater postpones writing both files until StartSaving. A program sets it if it may still
	// fail to start.
	WriteLater bool
	// Port is the port of DPS; the hubs have the ports after it. Zero means any free ports.
	Port int
	// OwnAddresses puts DPS on 127.0.0.1:8883 and the hubs on 127.0.0.2:8883, 127.0.0.3:8883 and so
	// on, and DPS names the hubs without a port. SDKs that always use port 8883 need it.
	OwnAddresses bool
	// Hubs are the names of the hubs. Empty means {"A", "B"}. DPS assigns new devices to the first.
	Hubs []string
	// IDScope is the ID scope of DPS, and GroupKey is the key of its only enrollment group, in base64.
	// Empty means the development values.
	IDScope, GroupKey string

	// AllocationPayload is JSON that DPS returns with each assignment, as a custom allocation does.
	// Empty means that assignments have no payload.
	AllocationPayload string
	// RetryAfter is the retry-after of DPS's 202 answers, and the time that an assignment takes. It
	// is rounded up to whole seconds. Zero means 3 s.
	RetryAfter time.Duration
	// AnswerDelay is the time that DPS takes for each answer, and a hub for each answer to a twin
	// request. CONNACK, SUBACK, PUBACK, and what the cloud sends by itself are not delayed. Zero means
	// DefaultAnswerDelay, or no delay if Listen is set. A negative value means no delay.
	AnswerDelay time.Duration
	// HubConnections is the number of connections that each hub accepts in a second; zero means no limit. An S1 hub
	// accepts the greater of 100 and 12 for each unit. A connection beyond it gets CONNACK 3. Source: azure-docs
	// articles/iot-hub/iot-hub-devguide-quotas-throttling.md
	HubConnections int
	// Registrations is the number of register requests that DPS accepts in a minute; zero means no limit. DPS accepts
	// 1,000. A request beyond it gets 429 with a retry-after. Source: azure-docs
	// includes/iot-dps-limits.md
	Registrations int
	// CommandLock is the time after which a cloud-to-device message without PUBACK is queued again.
	// Zero means 60 s.
	CommandLock time.Duration
	// MethodTimeout is the longest time that a direct method may take. Zero means 30 s.
	MethodTimeout time.Duration
	// TokenGrace is the time for which a connection outlives its SAS token. Zero means 10 minutes.
	TokenGrace time.Duration

	// LedgerLimit is about the memory in bytes for the messages in the ledger. When it is used up, the
	// oldest messages are removed; the newest one always stays. Zero means no limit.
	LedgerLimit int64

	// Rand makes all random choices of faults. Nothing but the cloud may use Rand. Nil means a source
	// with a fixed seed.
	Rand *rand.Rand

	// Observe receives all events, one at a time and in order. It may call methods of the Cloud,
	// but not Close.
	Observe func(Event)
}

// complete returns the configuration with its defaults and the bytes of the group key, after
// checking both.
func (config Config) complete() (Config, []byte, error) {
	setDefault(&config.Host, "127.0.0.1")
	setDefault(&config.IDScope, DevelopmentIDScope)
	setDefault(&config.GroupKey, DevelopmentGroupKey)
	setDefault(&config.RetryAfter, 3*time.Second)
	if config.Listen == nil {
		setDefault(&config.AnswerDelay, DefaultAnswerDelay)
	}
	config.AnswerDelay = max(config.AnswerDelay, 0)
	setDefault(&config.CommandLock, time.Minute)
	setDefault(&config.MethodTimeout, 30*time.Second)
	setDefault(&config.TokenGrace, 10*time.Minute)
	config.RetryAfter = (config.RetryAfter + time.Second - 1).Truncate(time.Second)
	if config.Listen == nil {
		config.Listen = listenTCP
	}
	if config.Rand == nil {
		config.Rand = rand.New(rand.NewPCG(1, 2))
	}
	config.Hubs = slices.Clone(config.Hubs)
	if len(config.Hubs) == 0 {
		config.Hubs = []string{"A", "B"}
	}
	groupKey, err := base64.StdEncoding.DecodeString(config.GroupKey)
	if err != nil || len(groupKey) == 0 {
		return config, nil, errors.New("the group key is not base64")
	}
	return config, groupKey, config.check()
}

func (config Config) check() error {
	if config.HubConnections < 0 || config.Registrations < 0 {
		return errors.New("a limit of connections or registrations is negative")
	}
	if config.LedgerLimit < 0 {
		return errors.New("the limit of the ledger is negative")
	}
	if config.AllocationPayload != "" && !json.Valid([]byte(config.AllocationPayload)) {
		return errors.New("the allocation payload is not JSON")
	}
	for i, name := range config.Hubs {
		if name == "" || name == TargetDPS || slices.Contains(config.Hubs[:i], name) {
			return fmt.Errorf("hub %d: the name %q is empty or already used", i+1, name)
		}
	}
	for _, d := range []time.Duration{config.RetryAfter, config.CommandLock, config.MethodTimeout, config.TokenGrace} {
		if d < 0 {
			return fmt.Errorf("a time of %v is negative", d)
		}
	}
	if config.Port < 0 || config.Port+len(config.Hubs) > 65535 {
		return fmt.Errorf("port %d leaves no room for DPS and the hubs: give one between 1 and %d, or 0", config.Port,
			65535-len(config.Hubs))
	}
	if config.OwnAddresses {
		if len(config.Hubs) > 250 {
			return fmt.Errorf("%d hubs are too many for OwnAddresses", len(config.Hubs))
		}
		return nil // OwnAddresses uses only loopback addresses
	}
	address := net.ParseIP(config.Host)
	if address != nil && address.IsUnspecified() {
		return fmt.Errorf("host %s is not the address of one machine: "+
			"give the address by which devices reach this one", config.Host)
	}
	listens := config.listenHost(0)
	address = net.ParseIP(listens)
	loopback := listens == "localhost" || address != nil && address.IsLoopback()
	if !loopback && !config.AnyAddress {
		return fmt.Errorf("host %s is not loopback, and the keys of the emulator are public: "+
			"set AnyAddress to allow it", listens)
	}
	return nil
}

// listenHost returns the host on which DPS (0) or the i-th hub listens.
func (config Config) listenHost(i int) string {
	if config.ListenHost != "" && !config.OwnAddresses {
		return config.ListenHost
	}
	return config.hostOf(i)
}

// addressOf returns the host:port on which DPS (0) or the i-th hub listens.
func (config Config) addressOf(i int) string {
	port := 0
	switch {
	case config.OwnAddresses:
		port = 8883
	case config.Port > 0:
		port = config.Port + i
	}
	return net.JoinHostPort(config.listenHost(i), strconv.Itoa(port))
}

// hostOf returns the host by which devices reach DPS (0) or the i-th hub.
func (config Config) hostOf(i int) string {
	if config.OwnAddresses {
		return fmt.Sprintf("127.0.0.%d", i+1)
	}
	return config.Host
}

// certificateNames returns the hosts by which devices reach DPS and the hubs, the names of the hubs,
// and a name for each below localhost: dps.localhost, hub-a.localhost and so on. The last are only
// in the certificate, for clients that check another name than the one that they dial, because
// such names do not resolve on every system.
func (config Config) certificateNames() []string {
	names := []string{config.Host, "dps.localhost"}
	for i, hub := range config.Hubs {
		names = append(names, config.hostOf(i+1), hub, "hub-"+strings.ToLower(hub)+".localhost")
	}
	return names
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}
