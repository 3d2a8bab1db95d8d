package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// imageExtensions are those of files that a folder is searched for.
var imageExtensions = []string{".apng", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

// otherExtensions are those of pictures that cannot be read, with the names of
// their formats.
var otherExtensions = map[string]string{
	".avif": "AVIF", ".avifs": "AVIF",
	".heic": "HEIC", ".heics": "HEIC", ".heif": "HEIF", ".heifs": "HEIF", ".hif": "HEIF",
	".jp2": "JPEG 2000", ".j2k": "JPEG 2000", ".j2c": "JPEG 2000", ".jpc": "JPEG 2000", ".jpf": "JPEG 2000", ".jpx": "JPEG 2000",
	".jxl": "JPEG XL", ".jxr": "JPEG XR", ".wdp": "JPEG XR", ".hdp": "JPEG XR",
	".3fr": "raw", ".arw": "raw", ".cr2": "raw", ".cr3": "raw", ".crw": "raw", ".dng": "raw", ".erf": "raw", ".fff": "raw",
	".iiq": "raw", ".kdc": "raw", ".mef": "raw", ".mos": "raw", ".mrw": "raw", ".nef": "raw", ".nrw": "raw", ".orf": "raw",
	".pef": "raw", ".raf": "raw", ".raw": "raw", ".rw2": "raw", ".rwl": "raw", ".sr2": "raw", ".srf": "raw", ".srw": "raw", ".x3f": "raw",
	".dib": "DIB", ".dds": "DDS", ".exr": "OpenEXR", ".hdr": "Radiance", ".ico": "icon", ".pcx": "PCX", ".psd": "Photoshop", ".psb": "Photoshop",
	".pbm": "Netpbm", ".pgm": "Netpbm", ".ppm": "Netpbm", ".pnm": "Netpbm", ".pam": "Netpbm", ".qoi": "QOI", ".svg": "SVG", ".svgz": "SVG",
	".tga": "TGA", ".xcf": "GIMP",
}

// countFormats lists counts, the largest first, as "2 HEIC, 1 AVIF (not supported)".
func countFormats(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", counts[name], name)
	}
	return strings.Join(names, ", ") + " (not supported)"
}

// noteLeftOut tells of pictures in folders that were not read.
func (c *console) noteLeftOut(counts map[string]int) {
	total := 0
	for _, n := range counts {
		total += n
	}
	if total > 0 {
		c.note("%s left out: %s", plural(total, "file"), countFormats(counts))
	}
}

// plural returns "1 file" for one, "2 files" for two.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
