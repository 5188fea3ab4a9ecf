package transport

import "github.com/eclipse/paho.mqtt.golang/packets"

// noStore is where paho keeps what it would send again on its next connection. There is none: a client is one CONNECT, and a
// store that outlived it would send hub A's messages to hub B.
type noStore struct{}

func (noStore) Open()                             {}
func (noStore) Put(string, packets.ControlPacket) {}
func (noStore) Get(string) packets.ControlPacket  { return nil }
func (noStore) All() []string                     { return nil }
func (noStore) Del(string)                        {}
func (noStore) Close()                            {}
func (noStore) Reset()                            {}
