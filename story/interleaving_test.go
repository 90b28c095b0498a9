// Whole sagas without I/O: the six services on memory stores, joined by the real flow,
// played in interleavings that rapid draws. What must hold stands in interleaving_check_test.go.
package story_test

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"millrace/event"
	"millrace/handlers/inventory"
)

// The rare paths that the runs must reach. What is named elsewhere by a state has
// its name spelled out below.
const (
	lateSuccess             = "PaymentSucceeded heard in CANCELLING"
	capturedAfterCancel     = "PaymentFailed with refundFollows"
	lateReservation         = "InventoryReserved heard in CANCELLING"
	voidConfirmed           = "void confirmed"
	voidFoundCaptured       = "void found captured"
	voidFoundDeclined       = "void found declined"
	refundRefused           = "refund refused"
	recallRefused           = "recall refused"
	stopTooLate             = "stop came too late"
	bookingAfterStop        = "booking arrived after the stop"
	carrierReported         = "carrier reported by itself"
	earlyCancelAtPayment    = "OrderCancelled before PaymentInitiated"
	tombstoneAtPayment      = "PaymentInitiated at a cancelled payment"
	earlyCancelAtShipping   = "OrderCancelled before ShippingInitiate"
	tombstoneAtShipping     = "ShippingInitiate at a cancelled shipment"
	earlyFailureAtInventory = "PaymentFailed before OrderCreated"
	earlyParcelAtInventory  = "parcel stopped before InventoryUpdate"
	earlyReleaseAtOrder     = "InventoryReleased before PaymentFailed"
	earlyRefundAtOrder      = "PaymentRefunded before PaymentSucceeded"
	earlyParcelAtOrder      = "SHIPPED before PaymentSucceeded"
	earlyNotice             = "news before OrderCreated"
	duplicateHeard          = "duplicate heard"
	answerLost              = "answer lost"
	answerUnwanted          = "answer nobody waits for any more"
	callsOverlap            = "two calls of one step at once"
	commitFailed            = "commit failed once"
	commitAnswerLost        = "committed, and the answer lost"
	cancelTooLate           = "cancel refused: too late"
	relayWaited             = "the relay waited to try again"
	leaseLost               = "a relay lost its lease without knowing"
	heardAgain              = "published again"
)

var interleavingPaths = []string{
	lateSuccess, capturedAfterCancel, lateReservation, voidConfirmed, voidFoundCaptured, voidFoundDeclined, refundRefused,
	recallRefused, stopTooLate, bookingAfterStop, carrierReported, earlyCancelAtPayment, tombstoneAtPayment, earlyCancelAtShipping,
	tombstoneAtShipping, earlyFailureAtInventory, earlyParcelAtInventory, earlyReleaseAtOrder, earlyRefundAtOrder,
	earlyParcelAtOrder, earlyNotice, duplicateHeard, answerLost, answerUnwanted, callsOverlap, commitFailed, commitAnswerLost, cancelTooLate,
	"order deadline fired", "payment deadline fired",
	"cancelled in PENDING", "cancelled in AWAITING_PAYMENT", "cancelled in PAYMENT_PENDING", "cancelled in PAID",
	"callback in CHARGING", "callback in PENDING", "callback in VOIDING", "callback in SUCCEEDED", "callback in FAILED",
	"operator: refund retry", "operator: refund settled", "operator: parcel returned", "operator: parcel written-off",
	"ended DELIVERED", "ended CANCELLED for OUT_OF_STOCK", "ended CANCELLED for PAYMENT_FAILED", "ended CANCELLED for CUSTOMER",
	"ended CANCELLED for DEADLINE", "ended CANCELLED for SHIPMENT_FAILED",
}

// How many interleavings a test plays unless -rapid.checks says otherwise: enough for
// the rarest path to be reached more than a dozen times, and some ten seconds for both tests.
const (
	runsThatEndWell     = 1500
	runsThatDoNotMatter = 500
)

// checkInterleavings runs a property, counts the paths it reaches, and fails if it
// missed a wanted one in a run of full length.
func checkInterleavings(t *testing.T, runs int, wanted []string, property func(t *rapid.T, reached func(string))) {
	checks := flag.Lookup("rapid.checks")
	full := checks.Value.String() == checks.DefValue
	if full {
		before := checks.Value.String()
		if err := flag.Set("rapid.checks", strconv.Itoa(runs)); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := flag.Set("rapid.checks", before); err != nil {
				t.Error(err)
			}
		}()
	}
	logger := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil))) // payment warns of late callbacks
	defer slog.SetDefault(logger)

	counts := map[string]int{}
	defer func() {
		var summary strings.Builder
		for _, path := range slices.Sorted(maps.Keys(counts)) {
			fmt.Fprintf(&summary, "%8d  %s\n", counts[path], path)
		}
		t.Logf("paths reached:\n%s", &summary)
	}()
	rapid.Check(t, func(t *rapid.T) {
		property(t, func(path string) { counts[path]++ })
	})
	for _, path := range wanted {
		if counts[path] == 0 && full && !testing.Short() {
			t.Errorf("never reached: %s", path)
		}
	}
}

// TestEverySagaEndsWell: orders compete for scarce stock; customers cancel, deadlines fire,
// calls fail, operators act at any moment. Everything ends, and adds up.
func TestEverySagaEndsWell(t *testing.T) {
	checkInterleavings(t, runsThatEndWell, interleavingPaths, func(t *rapid.T, reached func(string)) {
		scenario := drawInterleavingScenario(t, true)
		rapid.SyncTest(t, func(t *rapid.T) {
			w := newInterleavingWorld(t, scenario, reached)
			newInterleavingPlay(w, false, true).run()
			w.checkEnd()
		})
	})
}

// TestTheInterleavingDoesNotMatter: where nobody gives up, and stock is enough or is never
// enough, every interleaving ends as the straight one does.
func TestTheInterleavingDoesNotMatter(t *testing.T) {
	type end struct {
		Orders map[event.OrderID]interleavingEnd
		Stock  map[string]inventory.Level
	}
	checkInterleavings(t, runsThatDoNotMatter, nil, func(t *rapid.T, reached func(string)) {
		scenario := drawInterleavingScenario(t, false)
		play := func(straight bool) end {
			result := end{Orders: map[event.OrderID]interleavingEnd{}}
			rapid.SyncTest(t, func(t *rapid.T) {
				w := newInterleavingWorld(t, scenario, reached)
				newInterleavingPlay(w, straight, false).run()
				w.checkEnd()
				for _, o := range scenario.orders {
					result.Orders[o.id] = w.end(o.id)
				}
				result.Stock = w.stockLevels()
			})
			return result
		}
		straight, drawn := play(true), play(false)
		if diff := cmp.Diff(interleavingJSON(straight), interleavingJSON(drawn)); diff != "" {
			t.Fatalf("it ends otherwise (-straight +drawn):\n%s", diff)
		}
	})
}
