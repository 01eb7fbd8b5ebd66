// The reason code of a PUBACK below 0x80, which paho-mqtt-c 1.3.12 reads and drops.
//
// paho calls onSuccess5 for 0x00 and for 0x10 (no matching subscribers) alike, with reasonCode 0.
// The contract tells them apart: 0x10 must not leave the outbox. paho hides its socket and its SSL
// from us, but it reads by recv and SSL_read, which it takes from the process like every shared
// library: this file defines both, passes every call on to the real one, and, in the one thread
// that asked for it, follows the MQTT packets that go by.
//
// It fails closed: a PUBACK that was not seen here is not taken for 0x00.
//
// It also tells whether anything comes from the broker at all, which paho tells nobody.
#ifndef METERGATE_OFFICE_PUBACK_TAP_H
#define METERGATE_OFFICE_PUBACK_TAP_H

// Follows what this thread reads from now on; call at the boundary of a packet (in paho's callback
// of a CONNACK).
void puback_tap_begin(void);
// Reason of the PUBACK that this thread read last, if it was for this packet id; -1 otherwise.
int puback_tap_reason(int packet_id);
// Changes whenever bytes of a broker were read, of whatever packet. From any thread.
unsigned puback_tap_heard(void);

#endif
