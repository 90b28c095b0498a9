package order

import (
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"millrace/event"
)

// What an order may be. Together the limits keep OrderCreated, the longest event of
// an order, far below the 256 KiB an event may have. Lengths are in characters.
const (
	// MaxItems is more lines than a basket has, and bounds the stock rows one order locks.
	MaxItems = 100
	// MaxQuantity is above any basket, and makes a typing error visible.
	MaxQuantity = 1_000_000
	// MaxSKU, MaxCustomerID and MaxPaymentMethod leave room for UUIDs, URNs and
	// providers' tokens.
	MaxSKU           = 64
	MaxCustomerID    = 128
	MaxPaymentMethod = 128
	// MaxLine bounds each line of an address and each part of a contact.
	MaxLine = 200
)

// InvalidError says everything that is wrong with an order.
type InvalidError struct{ Fields []FieldError }

// FieldError is one wrong field.
type FieldError struct {
	// Field is a path into the order: items[0].quantity.
	Field string
	// Message says what would be right. It doesn't repeat the value.
	Message string
}

// Error names all fields.
func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Field + " " + f.Message
	}
	return "the order is not valid: " + strings.Join(parts, "; ")
}

var (
	countryCode = regexp.MustCompile(`^[A-Z]{2}$`)
	phoneNumber = regexp.MustCompile(`^\+[1-9][0-9]{1,14}$`) // E.164
)

// check returns the order as it is placed, or all that is wrong with it.
func (c PlaceOrder) check() (Placed, error) {
	var bad InvalidError
	wrong := func(field, message string, args ...any) {
		bad.Fields = append(bad.Fields, FieldError{field, fmt.Sprintf(message, args...)})
	}
	word := func(field, s string, most int) {
		n := utf8.RuneCountInString(s)
		if n < 1 || n > most || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }) {
			wrong(field, "must be 1 to %d printable characters without spaces", most)
		}
	}
	line := func(field, s string, least int) {
		n := utf8.RuneCountInString(s)
		if n < least || n > MaxLine || strings.ContainsFunc(s, unicode.IsControl) {
			wrong(field, "must be %d to %d characters on one line", least, MaxLine)
		}
	}

	word("customerId", c.CustomerID, MaxCustomerID)
	word("paymentMethod", c.PaymentMethod, MaxPaymentMethod)
	if !currencies[c.Currency] {
		wrong("currency", "must be an ISO 4217 code of money in use, such as EUR")
	}
	if len(c.Items) < 1 || len(c.Items) > MaxItems {
		wrong("items", "must have 1 to %d lines", MaxItems)
	}
	seen := map[string]int{}
	for i, item := range c.Items[:min(len(c.Items), MaxItems)] {
		at := fmt.Sprintf("items[%d].", i)
		word(at+"sku", item.SKU, MaxSKU)
		if first, twice := seen[item.SKU]; twice {
			wrong(at+"sku", "is in items[%d] already: put the sum of the quantities into one line", first)
		}
		seen[item.SKU] = i
		if item.Quantity < 1 || item.Quantity > MaxQuantity {
			wrong(at+"quantity", "must be 1 to %d", MaxQuantity)
		}
		if item.UnitPrice < 0 {
			wrong(at+"unitPrice", "must not be negative")
		}
	}
	if a := c.ShippingAddress; a != nil {
		line("shippingAddress.name", a.Name, 1)
		line("shippingAddress.street", a.Street, 1)
		line("shippingAddress.city", a.City, 1)
		line("shippingAddress.postalCode", a.PostalCode, 0) // some countries have none
		if !countryCode.MatchString(a.Country) {
			wrong("shippingAddress.country", "must be an ISO 3166-1 code of two upper-case letters, such as GB")
		}
	}
	if k := c.Contact; k != nil {
		line("contact.deviceToken", k.DeviceToken, 0)
		if k.Email != "" && !isEmail(k.Email) {
			wrong("contact.email", "must be an e-mail address of at most %d characters, or left out", MaxLine)
		}
		if k.Phone != "" && !phoneNumber.MatchString(k.Phone) {
			wrong("contact.phone", "must be a number as in E.164, such as +441225000000, or left out")
		}
	}
	if len(bad.Fields) > 0 {
		return Placed{}, &bad
	}

	total, err := event.Total(c.Items, c.Currency)
	if errors.Is(err, event.ErrOverflow) {
		return Placed{}, &InvalidError{Fields: []FieldError{{"items", "add up to more than 64 bits hold"}}}
	} else if err != nil {
		return Placed{}, err
	}
	return Placed{
		CustomerID: c.CustomerID, Items: c.Items, Total: total, PaymentMethod: c.PaymentMethod,
		ShippingAddress: c.ShippingAddress, Contact: c.Contact,
	}, nil
}

func isEmail(s string) bool {
	parsed, err := mail.ParseAddress(s)
	return err == nil && parsed.Address == s && utf8.RuneCountInString(s) <= MaxLine
}
