package transport

import "github.com/eclipse/paho.mqtt.golang/packets"

// noStore is a store for paho that keeps nothing. A paho client sends the packets in its store
// again in its next connection. Here each client has only one connection, and a store that two
// clients shared would send the messages of hub A to hub B.
type noStore struct{}

func (noStore) Open()                             {}
func (noStore) Put(string, packets.ControlPacket) {}
func (noStore) Get(string) packets.ControlPacket  { return nil }
func (noStore) All() []string                     { return nil }
func (noStore) Del(string)                        {}
func (noStore) Close()                            {}
func (noStore) Reset()                            {}
