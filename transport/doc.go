// Package transport holds one MQTT session with one host: it dials, authenticates, publishes, receives,
// and ends with a cause. A session is one CONNECT and never reconnects. Sessions with DPS and with hubs
// are the same.
//
// # What paho does
//
// The MQTT client of eclipse/paho, v1.5.1, builds and parses all packets except PINGREQ. It gives out
// packet identifiers, sends CONNECT, SUBSCRIBE, UNSUBSCRIBE, PUBLISH, PUBACK and DISCONNECT, answers
// PUBREC and PUBREL, and completes the tokens of SUBSCRIBE, UNSUBSCRIBE and of messages at QoS 0.
//
// # What paho is not trusted with
//
// Each line says what this package does itself, why, and what shows it: a file of paho's source, a test
// of this package or a measurement. The packets on their way to paho pass through packetReader, and
// those on their way to the network through sendBuffer. Both parse what they need to know.
//
//   - Reconnecting: one client is one CONNECT, and its store is empty. paho's own reconnection sends what
//     its store holds to whatever hub is next (client.go, resume), and tokens of messages at QoS 1 may
//     never complete when a session that is not clean is lost (client.go, internalConnLost). Hence all
//     waiting ends with the session. TestPendingCallsReturnTheCauseOfTheEnd
//   - Knowing that a message is acknowledged: packetReader reads PUBACK and calls done. A token for each
//     message needs a goroutine that waits; without those goroutines and with collected packets, a device is as
//     fast as paho alone (docs/performance.md, 100 in flight). TestDoneIsCalledOnceWithTheTruth
//   - Knowing what an answer is for: sendBuffer parses PUBLISH, SUBSCRIBE and UNSUBSCRIBE and remembers
//     the identifier, the type of the answer and the number of filters. paho panics when an answer
//     comes while the write of its packet fails (token.go, flowComplete) and when a SUBACK has more codes
//     than filters (net.go, startIncomingComms). It accepts any type of answer to any packet, and then
//     reuses the identifier. TestAnAcknowledgementOfAnUnsentMessageDoesNotCount,
//     TestMalformedPacketsEndTheSession, TestOnlyPUBACKAcknowledgesAMessageAtQoS1
//   - Parsing hostile input: packetReader refuses packets above 1 MiB, because paho allocates what a header
//     names, up to 256 MiB (packets.go, ReadPacket). It refuses unknown codes of CONNACK, which paho treats as
//     a success (client.go, attemptConnection). TestNoInputCrashesTheProcess
//   - Refused filters: Subscribe reads the codes of SUBACK. Code 0x80 is no error for paho (net.go,
//     startIncomingComms). TestARefusedFilterIsAnError
//   - Noticing silence and the end of the connection: connection sets the deadline of each Read, and every Read
//     after the end returns the cause. paho checks a ping only each quarter of KeepAlive (ping.go), and
//     notices that its connection was closed only when a ping times out, after 47 s as measured.
//     TestSilenceEndsTheSessionAfterTwelveSeconds
//   - Pings: connection sends its own when it has read nothing for KeepAlive. paho's pings come up to a
//     quarter of KeepAlive later and leave the peer too little time in a stall. CONNECT names four times
//     KeepAlive, so that paho has no reason to ping. TestASessionSurvivesAStallOfFiveSeconds,
//     TestPingsAreSentOnceInKeepAlive
//   - Writing: sendBuffer collects packets that are added during a write. Each packet alone would be a TLS
//     record and a system call; a record of 8 KiB would look like silence on a network of 400 bytes a
//     second, one of 4 KiB does not. TestMessagesAreCollectedDuringAWrite, TestASlowNetworkIsNoSilence
//   - Write timeouts: connection bounds each 16 KiB, because paho's timeout is for a whole packet (net.go,
//     startOutgoingComms). TestALargePacketThatIsReadSlowlyIsNoStall
//   - Calls to paho: one goroutine, runCalls, makes all calls that send something. paho blocks while its writer
//     is busy, up to WriteTimeout, and then returns "broken by timeout" for a packet that it has not written
//     (client.go, Publish): runCalls tries again. TestAStalledWriterLosesAndDuplicatesNothing
//   - Acknowledging received messages: a message is acknowledged when Ack is called, not when the handler
//     returns; acknowledgements are sent in the order of the calls. Messages are held until a handler is
//     attached, because a hub that has kept the subscriptions sends right after CONNACK.
//     TestMessagesAreHeldUntilAHandlerIsAttached
//   - Connecting: dial, TLS and CONNACK have one timeout, which paho's does not cover, and the protocol version
//     is set, because paho otherwise sends a refused CONNECT twice (client.go, attemptConnection).
//     TestConnectEndsAfterHalfAMinuteWhateverThePeerSends, TestEachFailureToConnectHasItsReason
//   - Secrets: packetReader overwrites what a peer sends back of the password, before paho may log or return it.
//     TestAPasswordThatThePeerSendsBackIsMasked
package transport
