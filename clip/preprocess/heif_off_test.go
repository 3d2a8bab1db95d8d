//go:build !heic

package preprocess

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is read with a build tag is named, and so is the tag.
func TestDecodeNamesTheTagOfHEIC(t *testing.T) {
	for brand, name := range map[string]string{"heic": "HEIC", "heix": "HEIC", "mif1": "HEIF", "avif": "AVIF"} {
		_, err := Decode(strings.NewReader("\x00\x00\x00\x18ftyp" + brand + "\x00\x00\x00\x00"))
		require.ErrorIs(t, err, ErrUnsupportedFormat, brand)
		assert.ErrorContains(t, err, name+" (read by programs built with -tags heic,nodynamic), want PNG", brand)
	}
}
