package machine

import (
	"giantlizard.example/failover/hub"
	"giantlizard.example/failover/observe"
	"giantlizard.example/failover/outbox"
	"giantlizard.example/failover/payloads"
	"giantlizard.example/failover/policy"
	"giantlizard.example/failover/provisioning"
	"giantlizard.example/failover/transport"
)

// The types of other packages that a program needs, so that it imports this one only.
type (
	Reading      = payloads.Reading        // one telemetry message
	ID           = outbox.ID               // ID of an accepted reading; its String is the message ID in the cloud
	Message      = payloads.Message        // a cloud-to-device message
	PropertyName = payloads.PropertyName   // name of a desired property
	PropertyAck  = hub.PropertyAck         // the device's acknowledgement of a desired property
	Record       = observe.Record          // one event in the life of the device
	Assignment   = provisioning.Assignment // the hub and device ID that DPS has assigned

	Handlers   = hub.Handlers          // the program's functions for messages from the cloud
	Delivery   = hub.Delivery          // settings for sending readings from the outbox to the hub
	Kinds      = hub.Kinds             // set of kinds of messages between a device and its hub
	Limits     = outbox.Limits         // bounds of the outbox
	Identity   = provisioning.Identity // names and key of the device, and its DPS instance
	Link       = transport.Link        // settings of connections to DPS and hubs
	Policy     = policy.Policy         // waits and limits by which the device chooses the next attempt
	Dial       = transport.DialFunc    // function that opens a network connection
	RootSource = transport.RootSource  // function that returns the trusted certificate authorities

	Key       = transport.Key       // a shared access key; printing a Key does not reveal it
	KeySource = transport.KeySource // function that reads the device's key
	KeyError  = transport.KeyError  // an error of a KeySource with a text that may be shown
)

// The values that Settings.Off may contain.
const (
	Telemetry          = hub.Telemetry
	ReportedProperties = hub.Reported
	DesiredProperties  = hub.Desired // desired properties and their acknowledgements
	Methods            = hub.Methods
	Commands           = hub.Commands // cloud-to-device messages
)

// The values of Limits.Full, which decides what happens to readings when the outbox is full.
const (
	DropOldest = outbox.DropOldest
	DropNewest = outbox.DropNewest
	Block      = outbox.Block // Send waits until the outbox has room
)

// The reasons for which readings are dropped. A record of the kind RecordDropped has one of them as its
// Cause.
const (
	NoRoom      = outbox.NoRoom
	TooOld      = outbox.TooOld
	DiskFull    = outbox.DiskFull
	Damaged     = outbox.Damaged
	Quarantined = outbox.Quarantined
)

// The kinds of records that a program may look for. Package observe defines all kinds.
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

// RootsFromFile returns a source of the system's certificate authorities and those in a PEM file. If the file
// contains a block that is not a certificate, RootsFromFile returns an error.
func RootsFromFile(name string) (RootSource, error) {
	pool, err := transport.RootsFromFile(name)
	return transport.FixedRoots(pool), err
}
