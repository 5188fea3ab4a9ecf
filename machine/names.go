package machine

import (
	"giantlizard.example/failover/hub"
	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

// The types of other packages that a program needs, so that it imports this one only.
type (
	Reading      = payloads.Reading        // one telemetry message
	ID           = outbox.ID               // of an accepted reading; its String is the message ID that the cloud sees
	Message      = payloads.Message        // a cloud-to-device message
	PropertyName = payloads.PropertyName   // of a desired property
	PropertyAck  = hub.PropertyAck         // what the device says of a desired property
	Record       = observe.Record          // one event of the device's life
	Assignment   = provisioning.Assignment // what DPS has assigned

	Handlers   = hub.Handlers          // the program's code for what the cloud sends
	Delivery   = hub.Delivery          // how readings go from the outbox to the hub
	Kinds      = hub.Kinds             // a set of what a device and its hub exchange
	Limits     = outbox.Limits         // bounds of the outbox
	Identity   = provisioning.Identity // who the device is
	Link       = transport.Link        // how to reach a host
	Dial       = transport.DialFunc    // opens a connection
	RootSource = transport.RootSource  // the certificate authorities to trust

	Key       = transport.Key       // a shared access key; printing it shows nothing of it
	KeySource = transport.KeySource // reads the device's key
	KeyError  = transport.KeyError  // the error of a KeySource whose text may be shown
)

// What Settings.Off may have.
const (
	Telemetry          = hub.Telemetry
	ReportedProperties = hub.Reported
	DesiredProperties  = hub.Desired // with their acknowledgements
	Methods            = hub.Methods
	Commands           = hub.Commands // cloud-to-device messages
)

// What a full outbox does, for Limits.Full.
const (
	DropOldest = outbox.DropOldest
	DropNewest = outbox.DropNewest
	Block      = outbox.Block // Send waits for room
)

// Why readings were dropped: Record.Cause of records of the kind RecordDropped.
const (
	NoRoom      = outbox.NoRoom
	TooOld      = outbox.TooOld
	DiskFull    = outbox.DiskFull
	Damaged     = outbox.Damaged
	Quarantined = outbox.Quarantined
)

// The kinds of records that a program may look for; observe has all of them.
const (
	RecordTransition = observe.Transition // the machine has moved
	RecordAccepted   = observe.Accepted   // Send has accepted a reading
	RecordDelivered  = observe.Delivered  // a hub has acknowledged a reading
	RecordDropped    = observe.Dropped    // readings were dropped
	RecordOutcome    = observe.Outcome    // an outage has ended
	RecordWarning    = observe.Warning    // something that an operator should know
)

// ParseKey reads a shared access key as Azure shows it, in base64. Its errors are *KeyError and do not quote the text.
func ParseKey(text string) (Key, error) { return transport.ParseKey(text) }

// RootsFromFile is the system's certificate authorities and those of a PEM file. A file of which anything
// cannot be used is an error.
func RootsFromFile(name string) (RootSource, error) {
	pool, err := transport.RootsFromFile(name)
	return transport.FixedRoots(pool), err
}
