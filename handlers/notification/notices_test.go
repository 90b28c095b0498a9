package notification_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/handlers/notification"
)

var notices = notification.Notices{
	{Kind: event.NoticePlaced, Channel: event.ChannelEmail, Status: notification.Sent, SentAt: sentAt},
	{Kind: event.NoticePlaced, Channel: event.ChannelSMS, Status: notification.Failed},
	{Kind: event.NoticePlaced, Channel: event.ChannelPush, Status: notification.Skipped},
	{Kind: event.NoticePaid, Channel: event.ChannelEmail, Status: notification.Waiting},
	{Kind: event.NoticePaid, Channel: event.ChannelSMS, Status: notification.Waiting},
	{Kind: event.NoticePaid, Channel: event.ChannelPush, Status: notification.Skipped},
	{Kind: event.NoticeShipped, Channel: event.ChannelEmail, Status: notification.Skipped},
	{Kind: event.NoticeShipped, Channel: event.ChannelSMS, Status: notification.Skipped},
	{Kind: event.NoticeShipped, Channel: event.ChannelPush, Status: notification.Skipped},
}

func TestARowKeepsItsNoticesByKind(t *testing.T) {
	data, err := json.Marshal(notices)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"kind":"placed","email":"2026-03-01T12:00:00.005Z","sms":"FAILED"},` +
		`{"kind":"paid","email":"WAITING","sms":"WAITING"},{"kind":"shipped"}]`
	if string(data) != want {
		t.Errorf("got  %s\nwant %s", data, want)
	}
	var got notification.Notices
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(notices, got); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
}

// As rows were written before the notices of a kind stood together.
func TestRowsThatSpellOutEachChannelAreRead(t *testing.T) {
	var got notification.Order
	err := json.Unmarshal([]byte(`{"id":"`+string(orderID)+`","status":"ADDRESSED","contact":{"email":"ada@example.com","phone":"+441225000000"},
"notices":[{"kind":"placed","channel":"email","status":"SENT","sentAt":"2026-03-01T12:00:00.005Z"},{"kind":"placed","channel":"sms","status":"FAILED"},
{"kind":"placed","channel":"push","status":"SKIPPED"},{"kind":"paid","channel":"email","status":"WAITING"},{"kind":"paid","channel":"sms","status":"WAITING"},
{"kind":"paid","channel":"push","status":"SKIPPED"},{"kind":"shipped","channel":"email","status":"SKIPPED"},{"kind":"shipped","channel":"sms","status":"SKIPPED"},
{"kind":"shipped","channel":"push","status":"SKIPPED"}],"total":{"amount":1,"currency":"EUR"}}`), &got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(notices, got.Notices); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestATimeThatIsNoneIsNotRead(t *testing.T) {
	var got notification.Notices
	if err := json.Unmarshal([]byte(`[{"kind":"placed","email":"soon"}]`), &got); err == nil {
		t.Errorf("read as %+v", got)
	}
}
