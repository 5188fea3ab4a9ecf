package transport

import "github.com/eclipse/paho.mqtt.golang/packets"

// noStore keeps nothing. A paho client keeps in its store what it sends again in its next connection,
// and there is no next connection: a store that outlived this one would send the messages of hub A to
// hub B.
type noStore struct{}

func (noStore) Open()                             {}
func (noStore) Put(string, packets.ControlPacket) {}
func (noStore) Get(string) packets.ControlPacket  { return nil }
func (noStore) All() []string                     { return nil }
func (noStore) Del(string)                        {}
func (noStore) Close()                            {}
func (noStore) Reset()                            {}
