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
	"time"
)

// What a Config without these gets: public values, for development only.
const (
	DevelopmentIDScope  = "0ne00FA110E"
	DevelopmentGroupKey = "ZmFpbG92ZXIgZGV2ZWxvcG1lbnQgZ3JvdXAga2V5OiBwdWJsaWMsIHdvcnRobGVzcywgbmV2ZXIgZm9yIHVzZQ=="
)

// A Config says what cloud to start. Its zero value is a good one.
type Config struct {
	// Listen opens an address; nil means real TCP.
	Listen func(address string) (net.Listener, error)
	// Host is how devices reach everything, "127.0.0.1" if empty: it stands in the certificate, and DPS names the hubs by it.
	Host string
	// ListenHost is the address to listen on, Host if empty; 0.0.0.0 and :: are all there are.
	ListenHost string
	// AnyAddress allows to listen on an address that is not loopback.
	AnyAddress bool
	// DataFile keeps devices, twins and queued messages over restarts, for the owner alone; what happened within the last 0.1 s before a
	// kill may be missing. If empty, nothing outlives the cloud. One cloud at a time may use it.
	DataFile string
	// AuthorityFile keeps the certificate authority and its key over restarts, for the owner alone. If empty, each start has its own.
	AuthorityFile string
	// WriteLater leaves both files as they are until Keep is called: for a program that may not be able to start after all.
	WriteLater bool
	// Port is DPS's; the hubs have the ones after it. Any that are free if zero.
	Port int
	// OwnAddresses puts DPS on 127.0.0.1:8883 and the hubs on 127.0.0.2:8883, 127.0.0.3:8883, …, and DPS names the hubs
	// without a port: for SDKs that cannot be told one.
	OwnAddresses bool
	// Hubs are the hubs' names, {"A", "B"} if empty. New devices are assigned to the first.
	Hubs []string
	// IDScope and GroupKey (base64) are those of the one enrollment group; the development values if empty.
	IDScope, GroupKey string

	// AllocationPayload is JSON that DPS returns with each assignment, as a custom allocation does; empty means none.
	AllocationPayload string
	// RetryAfter is what a 202 of DPS tells, and how long an assignment takes: 3 s if zero, rounded up to whole seconds.
	RetryAfter time.Duration
	// CommandLock is how long a cloud-to-device message waits for its PUBACK before it is queued again: 60 s if zero.
	CommandLock time.Duration
	// MethodTimeout is how long a direct method may take: 30 s if zero.
	MethodTimeout time.Duration
	// TokenGrace is how long a connection outlives its SAS token: 10 minutes if zero.
	TokenGrace time.Duration

	// Rand decides whatever a fault leaves to chance. The cloud alone may use it; a source with a fixed seed if nil.
	Rand *rand.Rand

	// Observe is told every happening, one at a time and in order. It may call the Cloud, but not Close.
	Observe func(Event)
}

// complete fills in the defaults, checks the rest, and returns the group key's bytes.
func (config Config) complete() (Config, []byte, error) {
	setDefault(&config.Host, "127.0.0.1")
	setDefault(&config.IDScope, DevelopmentIDScope)
	setDefault(&config.GroupKey, DevelopmentGroupKey)
	setDefault(&config.RetryAfter, 3*time.Second)
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
	if config.AllocationPayload != "" && !json.Valid([]byte(config.AllocationPayload)) {
		return errors.New("the allocation payload is no JSON")
	}
	for i, name := range config.Hubs {
		if name == "" || name == TargetDPS || slices.Contains(config.Hubs[:i], name) {
			return fmt.Errorf("hub %d: the name %q is empty or taken", i+1, name)
		}
	}
	for _, d := range []time.Duration{config.RetryAfter, config.CommandLock, config.MethodTimeout, config.TokenGrace} {
		if d < 0 {
			return fmt.Errorf("a time of %v is negative", d)
		}
	}
	if config.Port < 0 || config.Port+len(config.Hubs) > 65535 {
		return fmt.Errorf("port %d leaves no room for DPS and the hubs: give one between 1 and %d, or 0", config.Port, 65535-len(config.Hubs))
	}
	if config.OwnAddresses {
		if len(config.Hubs) > 250 {
			return fmt.Errorf("%d hubs are too many for addresses of their own", len(config.Hubs))
		}
		return nil // always loopback
	}
	address := net.ParseIP(config.Host)
	if address != nil && address.IsUnspecified() {
		return fmt.Errorf("host %s names no machine: give the address by which devices reach this one", config.Host)
	}
	listens := config.listenHost(0)
	address = net.ParseIP(listens)
	loopback := listens == "localhost" || address != nil && address.IsLoopback()
	if !loopback && !config.AnyAddress {
		return fmt.Errorf("host %s is not loopback, and the keys of the emulator are public: set AnyAddress to allow it", listens)
	}
	return nil
}

// listenHost is where DPS (0) or the i-th hub listens, without the port.
func (config Config) listenHost(i int) string {
	if config.ListenHost != "" && !config.OwnAddresses {
		return config.ListenHost
	}
	return config.hostOf(i)
}

// addressOf is where DPS (0) or the i-th hub listens.
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

// hostOf is by which host devices reach DPS (0) or the i-th hub.
func (config Config) hostOf(i int) string {
	if config.OwnAddresses {
		return fmt.Sprintf("127.0.0.%d", i+1)
	}
	return config.Host
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}
