package order_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"millrace/handlers/order"
)

// FuzzDecodeFact: an entry of a history is a fact or is refused. A fact can be applied to an order that knows nothing, and is
// written as the same one again.
func FuzzDecodeFact(f *testing.F) {
	for _, name := range []string{"Placed", "StockReserved", "StockRejected", "StockReleased", "PaymentSucceeded", "PaymentFailed", "ParcelMoved", "StatusChanged", "Unheard"} {
		f.Add(name, []byte(`{}`))
		f.Add(name, []byte(`{"status":"PAID","reason":7,"items":[null],"short":[{}]}`))
		f.Add(name, []byte(`null`))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		fact, err := order.DecodeFact(name, data)
		if err != nil {
			return
		}
		order.Replay(id, []order.Fact{fact, fact})
		sameName, written, err := order.EncodeFact(fact)
		if err != nil || sameName != name || !json.Valid(written) {
			t.Fatalf("%s %s is written as %s %s, %v", name, data, sameName, written, err)
		}
		again, err := order.DecodeFact(sameName, written)
		if err != nil {
			t.Fatalf("%s cannot be read again: %v", written, err)
		}
		if _, rewritten, err := order.EncodeFact(again); err != nil || !bytes.Equal(rewritten, written) {
			t.Fatalf("%s became %s, %v", written, rewritten, err)
		}
	})
}
