package preprocess

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Random JPEGs have the pixels of Pillow, whole and at a part of their size, to the bit.
func TestJPEGsHaveThePixelsOfPillow(t *testing.T) {
	const folder = "../../tests/testdata/jpeg_many/"
	archive, err := zip.OpenReader(folder + "files.zip")
	require.NoError(t, err)
	defer archive.Close()
	require.GreaterOrEqual(t, len(archive.File), 300)
	hashes, err := os.ReadFile(folder + "hashes.txt")
	require.NoError(t, err)
	rows, refused := 0, 0
	var d Decoder
	for line := range strings.Lines(string(hashes)) {
		var name string
		var scale int
		_, err := fmt.Sscan(line, &name, &scale)
		require.NoError(t, err)
		want := strings.Join(strings.Fields(line)[2:], " ")
		f, err := archive.Open(name)
		require.NoError(t, err)
		data, err := io.ReadAll(f)
		require.NoError(t, err)
		img, err := d.Decode(bytes.NewReader(data), WithScale(scale))
		rows++
		if err != nil {
			assert.Equal(t, want, "refused", "%s at 1/%d: %v", name, scale, err)
			refused++
			continue
		}
		hash := sha256.Sum256(img.pix)
		assert.Equal(t, want, fmt.Sprintf("%s %dx%d %s", img.mode, img.width, img.height, hex.EncodeToString(hash[:])), "%s at 1/%d", name, scale)
	}
	assert.Greater(t, rows, 1000)
	assert.Less(t, refused, rows/10)
}

// Draft gives the pixels that were recorded after Pillow's draft to a part S of the size,
// NAME@S, where that part is what the image is wanted in.
func TestDraftGivesRecordedPixels(t *testing.T) {
	const folder = testdata + "/jpeg2/"
	rows := readSafetensors(t, folder+"outputs_scaled_u8.safetensors")
	for name, want := range rows {
		base, text, _ := strings.Cut(name, "@")
		part, err := strconv.Atoi(text)
		require.NoError(t, err)
		files, err := filepath.Glob(folder + "files/" + base + ".*")
		require.NoError(t, err)
		require.Len(t, files, 1)
		whole, err := DecodeFile(files[0])
		require.NoError(t, err)
		cfg := DefaultConfig()
		cfg.ResizeMode, cfg.Size = "squash", [2]int{whole.height / part, whole.width / part}
		tr, err := New(cfg)
		require.NoError(t, err)
		img, err := DecodeFile(files[0], tr.Draft())
		require.NoError(t, err)
		require.Equal(t, []int{ceilDiv(whole.width, part), ceilDiv(whole.height, part)}, []int{img.width, img.height}, name)
		assert.Equal(t, want, img.RGB(), name)
	}
	assert.Greater(t, len(rows), 60)
}
