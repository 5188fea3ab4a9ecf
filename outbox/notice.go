package outbox

import "maps"

// notice gives a reading's properties what an outbox has to say: which readings are missing, and, on the first of an epoch, what
// the one before ended with. named are the readings that it names.
func notice(properties map[string]string, unnamed *ranges, before *ID) (all map[string]string, named ranges) {
	if len(*unnamed) == 0 && *before == (ID{}) {
		return properties, nil
	}
	if all = maps.Clone(properties); all == nil {
		all = map[string]string{}
	}
	if *before != (ID{}) {
		all[BeforeProperty], *before = before.String(), ID{}
	}
	if text, taken := unnamed.takeText(noticeLimit); text != "" {
		all[MissingProperty], named = text, taken
	}
	return all, named
}
