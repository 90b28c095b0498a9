package notification

import (
	"encoding/json"
	"slices"
	"time"

	"millrace/event"
)

// Notices are a row's notices, each kind with all its channels, in the order they go out.
//
// In the row they are written by kind, and only the channels that are used: most orders have
// an address for one channel, or for none, and every change writes the whole row anew.
type Notices []Notice

// told is a kind of notice as the row has it: a channel's entry is WAITING, FAILED, or the time at
// which the notice was sent; without one it was skipped.
type told struct {
	Kind  event.NoticeKind `json:"kind"`
	Email string           `json:"email,omitempty"`
	SMS   string           `json:"sms,omitempty"`
	Push  string           `json:"push,omitempty"`
}

// on is the entry of a channel; nil for one that there is not.
func (t *told) on(channel event.Channel) *string {
	switch channel {
	case event.ChannelEmail:
		return &t.Email
	case event.ChannelSMS:
		return &t.SMS
	case event.ChannelPush:
		return &t.Push
	}
	return nil
}

// MarshalJSON writes the row's form.
func (ns Notices) MarshalJSON() ([]byte, error) {
	kinds := make([]told, 0, len(ns)/len(channels))
	for _, n := range ns {
		if len(kinds) == 0 || kinds[len(kinds)-1].Kind != n.Kind {
			kinds = append(kinds, told{Kind: n.Kind})
		}
		entry := kinds[len(kinds)-1].on(n.Channel)
		switch {
		case entry == nil || n.Status == Skipped:
		case n.Status == Sent:
			*entry = n.SentAt.Format(time.RFC3339Nano)
		default:
			*entry = string(n.Status)
		}
	}
	return json.Marshal(kinds)
}

// UnmarshalJSON reads the row's form, and that of rows which spelled out each channel.
func (ns *Notices) UnmarshalJSON(data []byte) error {
	var entries []struct {
		told
		Channel event.Channel `json:"channel"`
		Status  NoticeStatus  `json:"status"`
		SentAt  time.Time     `json:"sentAt"`
	}
	if err := json.Unmarshal(data, &entries); err != nil {
		return err
	}
	*ns = slices.Grow((*ns)[:0], len(entries)*len(channels))
	for i := range entries {
		e := &entries[i]
		if e.Channel != "" {
			*ns = append(*ns, Notice{Kind: e.Kind, Channel: e.Channel, Status: e.Status, SentAt: e.SentAt})
			continue
		}
		for _, channel := range channels {
			n := Notice{Kind: e.Kind, Channel: channel}
			switch entry := *e.on(channel); entry {
			case "":
				n.Status = Skipped
			case string(Waiting), string(Failed):
				n.Status = NoticeStatus(entry)
			default:
				n.Status = Sent
				if err := n.SentAt.UnmarshalText([]byte(entry)); err != nil {
					return err
				}
			}
			*ns = append(*ns, n)
		}
	}
	return nil
}
