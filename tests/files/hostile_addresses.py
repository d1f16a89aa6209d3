"""Addresses that lead inside a network, in every spelling that some library reads as one; and ordinary signed ones."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator

INSIDE = (
    *("127.0.0.1", "127.8.9.10", "10.0.0.5", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200"),
    *("0.0.0.0", "168.63.129.16", "192.0.0.192", "198.18.0.1", "192.88.99.1", "224.0.0.1", "255.255.255.255"),
)
INSIDE_IPV6 = (
    *("::1", "::", "fe80::1", "fe80::1%25eth0", "fec0::1", "fd00:ec2::254", "ff02::1", "100::1", "100:0:0:1::1"),
    *("64:ff9b:1::7f00:1", "2001:db8::1", "2001::1", "2002:7f00:1::", "3fff::1", "5f00::1", "4000::1"),
)
_DIGITS = {
    "fullwidth": "０１２３４５６７８９",
    "circled": "⓪①②③④⑤⑥⑦⑧⑨",
    "superscript": "⁰¹²³⁴⁵⁶⁷⁸⁹",
    "subscript": "₀₁₂₃₄₅₆₇₈₉",
    "bold": "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗",
    "double-struck": "𝟘𝟙𝟚𝟛𝟜𝟝𝟞𝟟𝟠𝟡",
    "monospace": "𝟶𝟷𝟸𝟹𝟺𝟻𝟼𝟽𝟾𝟿",
    "segmented": "🯰🯱🯲🯳🯴🯵🯶🯷🯸🯹",
    "arabic-indic": "٠١٢٣٤٥٦٧٨٩",
    "devanagari": "०१२३४५६७८९",
}
_DOTS = ("。", "．", "｡", "․", "%2e", "%E3%80%82")
_INVISIBLE = ("\u00ad", "\u200b", "\u2060", "\ufeff", "\u180b", "\U000e0001")


def spellings_of(address: str) -> Iterator[str]:
    """Yield ways to write an IPv4 address as a host."""
    numbers = [int(part) for part in address.split(".")]
    value = int(ipaddress.IPv4Address(address))
    first, second, third, last = numbers
    yield address
    yield f"{address}."
    yield f"{address}.."
    yield str(value)
    yield f"{value:#x}"
    yield f"{value:#X}"
    yield f"0{value:o}"
    yield f"{first}.{value & 0xFFFFFF}"
    yield f"{first}.{second}.{value & 0xFFFF}"
    yield ".".join(f"0{number:o}" for number in numbers)
    yield ".".join(f"{number:04o}" for number in numbers)
    yield ".".join(f"{number:#x}" for number in numbers)
    yield ".".join(f"{number:#06x}" for number in numbers)
    yield f"{first:#x}.{second}.0{third:o}.{last}"
    yield ".".join(f"{number:03d}" for number in numbers)
    yield f"{first + 256}.{second}.{third}.{last}"
    for digits in _DIGITS.values():
        other = str.maketrans("0123456789", digits)
        yield address.translate(other)
        yield f"{first}.{second}.{third}.{str(last).translate(other)}"
        yield f"{first}.{value & 0xFFFFFF}".translate(other)
    for dot in _DOTS:
        yield address.replace(".", dot)
    for invisible in _INVISIBLE:
        yield f"{invisible}{address}"
        yield f"{first}{invisible}.{second}.{third}.{last}"
    yield "".join(f"%{ord(character):02x}" for character in address)
    yield f"{first}.{second}.{third}.%{ord(str(last)[0]):x}{str(last)[1:]}"
    for ipv6 in ("::ffff:{}", "::{}", "::ffff:0:{}", "64:ff9b::{}", "64:ff9b:1::{}", "0:0:0:0:0:ffff:{}"):
        yield f"[{ipv6.format(address)}]"
        yield f"[{ipaddress.IPv6Address(ipv6.format(address))}]"
        yield f"[{ipaddress.IPv6Address(ipv6.format(address)).exploded}]".upper()
    yield f"[2002:{value >> 16:x}:{value & 0xFFFF:x}::1]"
    yield f"[{address}]"


def forbidden_addresses(port: int) -> list[str]:
    """Return addresses of results that lead inside a network, or nowhere."""
    found = [f"http://{spelling}:{port}/a.png" for address in INSIDE for spelling in spellings_of(address)]
    found += [f"http://[{address}]:{port}/a.png" for address in INSIDE_IPV6]
    found += [
        f"http://{name}:{port}/a.png" for name in ("localhost", "LOCALHOST.", "inside.test", "ｌｏｃａｌｈｏｓｔ")
    ]
    host = f"127.0.0.1:{port}"
    found += [
        *(f"http://cdn.example@{host}/a.png", f"http://cdn.example:80@{host}/a.png", f"http://a@b@{host}/a.png"),
        *(f"http://{host}\\@cdn.test/a.png", f"http://{host}#@cdn.test/a.png", f"http://{host}?@cdn.test/a.png"),
        *(f"//{host}/a.png", f"\\\\{host}/a.png", f"http:\\\\{host}\\a.png", f"http:///{host}/a.png"),
        *(f" http://{host}/a.png", f"http://\t{host}/a.png", f"HTTP://{host}/a.png", f"http:{host}/a.png"),
        *(f"ftp://{host}/a.png", f"gopher://{host}/_a", f"file://{host}/etc/passwd", f"jar:http://{host}/a!/b"),
        *(f"http://127.0.0.1:0{port}/a.png", f"http://127.0.0.1:+{port}/a.png", "http://127.0.0.1:/a.png"),
    ]
    return list(dict.fromkeys(found))


def mutated(addresses: list[str], count: int, seed: int) -> list[str]:
    """Return further addresses: two spellings mixed, or a character put in, taken out or written otherwise."""
    chance = random.Random(seed)
    found = []
    while len(found) < count:
        one, other = chance.choice(addresses), chance.choice(addresses)
        at = chance.randrange(7, min(len(one), 40))
        strange = chance.choice([*_DOTS, *_INVISIBLE, "@", "\\", "%00", "[", "]", ":", "0", "\t", "/", "?", "#", "x"])
        found.append(
            chance.choice(
                [
                    one[:at] + strange + one[at:],
                    one[:at] + one[at + 1 :],
                    one[:at] + other[at:],
                    one[:at] + f"%{ord(one[at]):02X}" + one[at + 1 :],
                    one.swapcase(),
                ]
            )
        )
    return found


SIGNED = (
    # Amazon S3, version 4 and 2, also of a session, with encoded slashes, blanks and brackets in the key.
    "/bucket/kite.png?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20260301%2Fus-east-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20260301T000000Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=0a1b2c",
    "/kite%28final%29.png?X-Amz-Security-Token=IQoJb3JpZ2luX2VjE%2F%2F%2F%2Bw%3D%3D&X-Amz-Signature=ff00",
    "/a%20red%20kite.png?AWSAccessKeyId=AKIA&Expires=1790000000&Signature=vjbyPxybdZaNmGa%2ByT272YEAiv4%3D",
    "/a+red+kite.png?AWSAccessKeyId=AKIA&Expires=1790000000&Signature=vjbyPxybdZaNmGa+yT272YEAiv4=",
    "/folder%2Fkite.png?X-Amz-Signature=00ff&x-id=GetObject",
    "/http%3A%2F%2Fx/a.png?X-Amz-Signature=1",
    "/kite.png?response-content-disposition=attachment%3B%20filename%3D%22kite.png%22&X-Amz-Signature=2",
    "/kite.png?response-content-disposition=attachment;+filename=kite.png&X-Amz-Signature=3",
    # Google Cloud Storage, version 2 and 4.
    "/bucket/kite.png?GoogleAccessId=me%40project.iam.gserviceaccount.com&Expires=1790000000&Signature=a%2Fb%2Bc%3D%3D",
    "/bucket/kite.png?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=me%40p.iam.gserviceaccount.com%2F20260301"
    "%2Fauto%2Fstorage%2Fgoog4_request&X-Goog-Date=20260301T000000Z&X-Goog-SignedHeaders=host&X-Goog-Signature=AB",
    "/download/storage/v1/b/bucket/o/folder%2Fkite.png?generation=1790000000000000&alt=media",
    # Azure: shared access signatures, with colons written as they are and encoded.
    "/c/kite.png?sv=2024-11-04&se=2026-01-01T00%3A00%3A00Z&sr=b&sp=r&sig=a%2Bb%2Fc%3D",
    "/c/kite.png?sv=2024-11-04&se=2026-01-01T00:00:00Z&sr=b&sp=r&sig=a%2bb%2fc%3d",
    "/c/kite.png?st=2026-01-01T00%3A00%3A00Z&se=2026-01-02T00%3A00%3A00Z&skoid=1-2&sktid=3&skt=2026&sig=x%3D",
    "/c/$web/kite.png?sig=%2F%2F%2F",
    # CloudFront, with its own base64, and a policy.
    "/kite.png?Expires=1790000000&Signature=nitfHRCrtziwO2HwPfWw~yYDhUF5EwRunQA-j19DzZrvDh6hQ73lDx~-ar3UocvvRQ__"
    "&Key-Pair-Id=APKA",
    "/kite.png?Policy=eyJTdGF0ZW1lbnQiOlt7fV19Cg__&Signature=a~b-c_&Key-Pair-Id=K2",
    # Alibaba OSS, Tencent COS, Volcengine TOS, Qiniu.
    "/kite.png?OSSAccessKeyId=LTAI&Expires=1790000000&Signature=a%2Bb%2Fc%3D&x-oss-process=image%2Fresize%2Cw_100",
    "/kite.png?x-oss-process=image/resize,w_100/format,png&x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-signature=00",
    "/kite.png?q-sign-algorithm=sha1&q-ak=AKID&q-sign-time=1;2&q-key-time=1;2&q-header-list=host&q-url-param-list=",
    "/kite.png~tplv-resize:100:100.image?x-expires=1790000000&x-signature=a%2Fb%3D",
    "/kite.png?imageView2/2/w/100&e=1790000000&token=ak:sig=",
    # Cloudflare R2 and images, imgix, Cloudinary, Discord, Replicate, OpenAI's own.
    "/cdn-cgi/image/width=100,format=auto/kite.png?verify=1790000000-a%2Fb%2Bc%3D",
    "/account.r2/kite.png?X-Amz-Content-Sha256=UNSIGNED-PAYLOAD&X-Amz-Signature=aa",
    "/image/upload/s--a_b-c--/c_fill,w_100/v1/kite.png",
    "/attachments/1/2/kite.png?ex=65a&is=65b&hm=0a1b&",
    "/pbxt/kite.png?",
    "/private/org-1/user-1/img-1.png?st=2026-03-01T00%3A00%3A00Z&sp=r&rscd=inline&rsct=image/png&sig=a%2Bb%3D",
    # What no one is free to write otherwise.
    "/a%2fb%2Fc.png?x=%e2%82%ac&y=%E2%82%AC",
    "/a.png?empty=&bare&&x=1&x=2&x=1",
    "/a.png?a=b=c==&d=/e/f&g=?h",
    "/a.png?q='x'(y)*!$@,;:[z]~-._",
    "/a;version=1.png;x?y;z",
    "/a//b///c.png?//",
    "/./a/../b.png?x=/../y",
    "/%2e%2e/%2E/a.png",
    "/a%00b%0Ac.png?x=%0D%0A",
    "/%.png?100%&%zz=%2",
    "/~user/a-b_c.d~e.png?~=~",
    "/a.png?x=%20+%2B%26%3D%3B%3A%40%2C",
    "/?kite",
)
"""Targets of requests, as stores sign them: a single character otherwise, and they answer 403."""
UNSENDABLE = {
    "/kité.png?x=ü": "/kit%C3%A9.png?x=%C3%BC",
    "/風筝.png?名=紅": "/%E9%A2%A8%E7%AD%9D.png?%E5%90%8D=%E7%B4%85",
    "/a red kite.png?x=a b": "/a%20red%20kite.png?x=a%20b",
    "/🪁.png#part": "/%F0%9F%AA%81.png",
    '/"a"<b>.png?{c}^`d`': "/%22a%22%3Cb%3E.png?%7Bc%7D%5E%60d%60",
}
"""Targets that no request can hold, and how browsers send them."""
