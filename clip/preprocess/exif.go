package preprocess

import (
	"strings"
	"time"
)

// Tags of EXIF 2.32.
const (
	tagOrientation  = 0x0112
	tagEXIF         = 0x8769 // where the directory of the next two is
	tagOriginal     = 0x9003 // DateTimeOriginal
	tagOriginalZone = 0x9011 // OffsetTimeOriginal
)

// exif is what is read of a picture's EXIF data.
type exif struct {
	orientation int // 0 where it is not told
	taken       time.Time
}

// exifIn reads EXIF data; what cannot be read is left out.
func exifIn(data []byte) exif {
	d, err := readIFD(data)
	if err != nil {
		return exif{}
	}
	return exif{d.int(tagOrientation, 1), d.taken(data)}
}

// taken is when a camera took the picture, in local time where the zone is not told.
func (d *ifd) taken(data []byte) time.Time {
	more := &ifd{order: d.order, counter: d.counter, word: d.word, text: true, entries: map[uint16]ifdEntry{}}
	if d.count(tagEXIF) == 0 || more.read(data, d.value(tagEXIF, 0)) != nil {
		return time.Time{}
	}
	text := func(tag uint16) string { return strings.Trim(string(more.entries[tag].values), " \x00") }
	const layout = "2006:01:02 15:04:05"
	if t, err := time.Parse(layout+"-07:00", text(tagOriginal)+text(tagOriginalZone)); err == nil {
		return t
	}
	t, err := time.ParseInLocation(layout, text(tagOriginal), time.Local)
	if err != nil {
		return time.Time{} // cameras without a clock write zeros or blanks
	}
	return t
}

// withEXIF turns m upright where o asks for it, and notes what else is told in m, which
// is not shared yet.
func (m *Image) withEXIF(e exif, o options) *Image {
	m.taken = e.taken
	if o.orient {
		return m.oriented(e.orientation, o.turned)
	}
	m.orientation = e.orientation
	return m
}

// Taken is when the picture was taken, by its EXIF data (DateTimeOriginal): in local time
// where these do not tell the zone, zero where they do not tell the time.
func (m *Image) Taken() time.Time { return m.taken }

// FullSize is the width and height of what the file has, turned as m is: those of m but
// where WithScale or Draft made it smaller.
func (m *Image) FullSize() (width, height int) {
	return max(m.width, m.fullWidth), max(m.height, m.fullHeight)
}
