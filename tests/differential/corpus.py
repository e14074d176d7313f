"""The messages: a few hundred that two servers could read differently, made from tables.

In a template, `<H>` is a Host field, `<C>` the field that says to which case a request belongs, `<S>`
a whole request that nobody sent (it stands where it must be taken for content, or be refused), and
`<F>` a last request, which every reader must find where this file puts it. Every case that does not
end in the middle gets an `<F>` behind it.
"""

import collections

Case = collections.namedtuple("Case", "group name octets")

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: s.example\r\n<C>\r\n"
FOLLOWER = b"GET /follower HTTP/1.1\r\n<H>Connection: close\r\n\r\n"

# White space and controls that some parsers take for blanks, or for ends of lines.
ODD_BLANKS = [b"\t", b"\x0b", b"\x0c", b"\x00", b"\x01", b"\x1f", b"\x7f", b"\x85", b"\xa0", b"\r",
              b"\n"]


def all_cases(text=""):
    """The cases of the groups whose name has this text, each with its number written into it."""
    groups = [
        ("request line", request_lines()),
        ("target", targets()),
        ("Host", hosts()),
        ("field line", field_lines()),
        ("Content-Length", lengths()),
        ("Transfer-Encoding", codings()),
        ("length and coding", lengths_and_codings()),
        ("chunk", chunks()),
        ("trailer", trailers()),
        ("hop-by-hop", hop_by_hop()),
        ("look-alike", look_alikes()),
        ("Expect", expectations()),
        ("pipeline", pipelines()),
        ("HTTP/1.0", http_10()),
        ("limit", limits()),
        ("broken off", broken_off()),
    ]
    cases = []
    for group, templates in groups:
        if text not in group:
            continue
        for template in templates:
            is_part = group == "broken off"
            octets = fill(template if is_part else template + b"<F>", len(cases))
            cases.append(Case(group, shorten(template), octets))
    return cases


def fill(template, number):
    template = template.replace(b"<F>", FOLLOWER).replace(b"<S>", SMUGGLED)
    template = template.replace(b"<H>", b"Host: a.example\r\n<C>")
    return template.replace(b"<C>", b"X-Case: %d\r\n" % number)


def shorten(template):
    """The template as one can read it, and not too long."""
    text = template.decode("latin-1").encode("unicode_escape").decode()
    return text if len(text) <= 100 else text[:60] + "..." + text[-37:]


def get(line):
    return line + b"\r\n<H>\r\n"


def post(fields, body):
    return b"POST /x HTTP/1.1\r\n<H>" + fields + b"\r\n" + body


def chunked(body):
    return post(b"Transfer-Encoding: chunked\r\n", body)


def request_lines():
    methods = [b"GET", b"HEAD", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"PROPFIND",
               b"M-SEARCH", b"QUERY", b"PURGE", b"get", b"Get", b"GETT", b"X", b"G!", b"G_T", b"G.T",
               b"G(T", b"G/T", b"G,T", b"G:T", b'"GET"', b"G\x00T", b"G\x80T", b"\xc3\x89", b"A" * 300]
    yield from (get(method + b" /x HTTP/1.1") for method in methods)
    yield b"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n<C>\r\n"
    yield b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for line in [
        b"GET  /x HTTP/1.1", b"GET /x  HTTP/1.1", b" GET /x HTTP/1.1", b"GET /x HTTP/1.1 ",
        b"\tGET /x HTTP/1.1", b"GET /x", b"GET /x ", b"GET", b"GET HTTP/1.1", b"/x HTTP/1.1",
        b"GET /x /y HTTP/1.1", b"GET /x HTTP/1.1 HTTP/1.1", b"GET /x HTTP/1.1\r", b"\rGET /x HTTP/1.1",
        b"GET /x\r HTTP/1.1", b"GET /x HTTP/1.1\x00", b"\x00GET /x HTTP/1.1",
    ]:
        yield get(line)
    for blank in ODD_BLANKS:
        yield get(b"GET" + blank + b"/x HTTP/1.1")
        yield get(b"GET /x" + blank + b"HTTP/1.1")
        yield get(b"GET /x HTTP/1.1" + blank)
    for version in [
        b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/1.10", b"HTTP/01.1",
        b"HTTP/1.01", b"HTTP/11.1", b"HTTP/1", b"HTTP/1.", b"HTTP/.1", b"HTTP/1,1", b"HTTP/1.1.1",
        b"http/1.1", b"Http/1.1", b"HTTPS/1.1", b"HTTP1.1", b"HTTP /1.1", b"HTTP/ 1.1", b"HTTP/1.1a",
        b"HTTP/-1.1", b"HTTP/+1.1", b"HTTP/1.\xb9", b"ICE/1.1",
    ]:
        yield get(b"GET /x " + version)
    for before in [b"\r\n", b"\r\n\r\n", b"\r\n\r\n\r\n", b"\n", b"\r", b" \r\n", b"\x00\r\n"]:
        yield get(before + b"GET /x HTTP/1.1")
    yield b"GET /x HTTP/1.1\n<H>\r\n"
    yield b"GET /x HTTP/1.1\nHost: a.example\n<C>\n"


def targets():
    paths = [
        b"/", b"//", b"//h/x", b"///x", b"/a//b", b"/./a", b"/../a", b"/a/..", b"/a/./b", b"/..;/a",
        b"/%2e%2e/a", b"/%2F", b"/%2f%2f", b"/%5c", b"/%00", b"/%0d%0aX:%20y", b"/%20", b"/%c3%a9",
        b"/%ff", b"/%", b"/%z", b"/%zz", b"/%u0041", b"/a?b", b"/a?", b"/?", b"/??", b"/a?b?c", b"/a?b=/../c",
        b"/a;b=c", b"/a:b", b"/a@b", b"/a,b", b"/a!$&'()*+,;=", b"/~a", b"/a&b", b"/a+b", b"/*",
        b"/http://h/", b"/:80", b"/@h", b"/a=b&c", b"/?a[]=b", b"/[x]", b"/a#b", b"/#", b"/a%23b",
        b"/a\\b", b"\\a", b'/"', b"/<a>", b"/{a}", b"/|", b"/^", b"/`", b"/a b", b"/a\tb", b"/\xc3\xa9",
        b"/\xff", b"/\x7f", b"/\x01", b"/\x00", b"/a\rb", b"/a\nb", b"*", b"a", b"a/b", b"?a", b"#a", b".",
        b"..", b"/x*", b"**", b"%2fx", b"a.example", b"a.example:80", b":80", b"//", b"http:", b"http:/x",
        b"http://", b"http:///x", b"http://a.example", b"http://a.example/x", b"http://a.example?x",
        b"http://a.example:80/x", b"http://a.example:/x", b"http://a.example:81/x", b"HTTP://A.EXAMPLE/x",
        b"http://A.example/x", b"http://b.example/x", b"http://u@a.example/x", b"http://u:p@a.example/x",
        b"http://@a.example/x", b"http://a.example#f", b"http://a.example//x", b"http://a.example/../x",
        b"http://a.example\\x", b"http://a.example\\@b.example/x", b"http://a.example:80:80/x",
        b"http://a.example:x/x", b"http://[::1]/x", b"http://[::1/x", b"http://a%2eexample/x",
        b"http://a.example /x", b"http:a.example/x", b"http//a.example/x", b"https://a.example/x",
        b"ftp://a.example/x", b"ws://a.example/x", b"x://a.example/x", b"://a.example/x",
        b"http://a.example,b.example/x", b"http://a.example;b/x", b"http://a.example%00/x",
    ]
    yield from (get(b"GET " + target + b" HTTP/1.1") for target in paths)
    for target in [b"*", b"/", b"http://a.example", b"http://a.example/", b"http://a.example?x",
                   b"http://a.example/*", b"*?x", b"**", b"/*"]:
        yield get(b"OPTIONS " + target + b" HTTP/1.1")


def hosts():
    yield b"GET /x HTTP/1.1\r\n<C>\r\n"
    for value in [
        b"a.example", b"A.EXAMPLE", b"a.example:80", b"a.example:8080", b"a.example:", b"a.example.",
        b"127.0.0.1", b"127.0.0.1:1", b"127.1", b"0x7f.1", b"[::1]", b"[::1]:80", b"[::ffff:1.2.3.4]",
        b"[::1%25lo]", b"[v1.x]", b"[]", b"[::1", b"::1", b"a", b"a_b", b"-a", b"xn--a", b"a%2eb", b"a%00b", b"a%", b"a%2", b"%zz", b"a%0g",
        b"", b" ", b":80", b"a b", b"a\tb", b"a,b", b"a, b", b"a;b", b"a/b", b"a\\b", b"a?b", b"a#b", b"u@a",
        b"@a", b"a@", b"http://a", b"a:b", b"a:80:80", b"a:80a", b"a:-1", b"a:+80", b"a:65536", b"a:123456",
        b"a:0", b"a\x00", b"a\x7f", b"a\xc3\xa9", b"a\xff", b'"a"', b"(a)", b"<a>", b"{a}", b"a|b", b"a'b",
        b"a!b", b"a$b", b"a&b", b"a*b", b"*", b"a=b", b".", b"..", b"a..b", b"a" * 300,
    ]:
        yield b"GET /x HTTP/1.1\r\nHost: " + value + b"\r\n<C>\r\n"
    for fields in [
        b"Host: a.example\r\nHost: a.example\r\n", b"Host: a.example\r\nHost: b.example\r\n",
        b"Host: a.example\r\nX: y\r\nhost: b.example\r\n", b"Host:\r\nHost: a.example\r\n",
        b"Host : a.example\r\n", b" Host: a.example\r\n", b"Host\t: a.example\r\n", b"Host: a\r\n b\r\n",
        b"Host:a.example\r\n", b"HOST:\ta.example \t\r\n", b"hOsT: a.example\r\n", b"Host: a\x0b\r\n",
        b"X-Host: b.example\r\nHost: a.example\r\n", b"Host\x00: b.example\r\nHost: a.example\r\n",
        b"Host_: b.example\r\nHost: a.example\r\n", b"X: y\nHost: b.example\r\nHost: a.example\r\n",
        b"X: y\rHost: b.example\r\nHost: a.example\r\n", b"Host: a.example\r\n Host: b.example\r\n",
    ]:
        yield b"GET /x HTTP/1.1\r\n" + fields + b"<C>\r\n"


def field_lines():
    for line in [
        b"X: y", b"X:y", b"X:", b"X: ", b"X:\t y \t", b"X: a b", b"X: a\tb", b"X: \xc3\xa9", b"X: \xff", b"X: \x80",
        b"X: \"a\r", b"X : y", b"X\t: y", b" X: y", b"\tX: y", b": y", b":", b" ", b"X", b"X y", b"=y", b"X=y", b"X\x00: y",
        b"X\x01: y", b"X\x7f: y", b"X\xe9: y", b"X(): y", b"X@: y", b"X[]: y", b"X/: y", b'X": y', b"X,Y: y", b"X;: y",
        b"X{: y", b"X\\: y", b"!#$%&'*+-.^_`|~: y", b"X: \x00", b"X: a\x00b", b"X: a\x01b", b"X: a\x08b", b"X: a\x0bb",
        b"X: a\x0cb", b"X: a\x1bb", b"X: a\x7fb", b"X: a\rb", b"X: a\r", b"X: a\nb", b"X: a\n", b"X: y\r\n z", b"X: y\r\n\tz",
        b"X:\r\n y", b"X: y\r\n \r\n z", b"X: y\r\n ", b"X\r\n : y", b"X\r\n: y", b"X: y\nZ: z", b"X: y\rZ: z", b"X: y\r\rZ: z",
        b"X: y\n\rZ: z", b"X: y\n z", b"X: y\x0bZ: z", b"X: y\x85Z: z", b"GET / HTTP/1.1", b"Proxy: http://h/",
        b"X: " + b"y" * 4000, b"X" * 200 + b": y",
    ]:
        yield b"GET /x HTTP/1.1\r\n<H>" + line + b"\r\n\r\n"
    # The end of the head, in ways that some take for it and some do not.
    for end in [b"\n\n", b"\n\r\n", b"\r\n\n", b"\r\r\n", b"\r\r", b"\r\n\r", b"\n\r", b"\r\n \r\n", b"\r\n\x00\r\n",
                b"\r\n\t\r\n\r\n"]:
        yield b"GET /x HTTP/1.1\r\n<H>X: y" + end + b"<S>"
    yield b"GET /x HTTP/1.1\r\n X: y\r\n<H>\r\n"
    yield b"GET /x HTTP/1.1\r\n \r\n<H>\r\n"
    yield b"GET /x HTTP/1.1\r\n\tHost: b.example\r\n<H>\r\n"


def lengths():
    for value in [
        b"5", b"05", b"0005", b"5 ", b"\t5", b"+5", b"-5", b"-0", b"0x5", b"5h", b"5.0", b"5e0", b"5,5", b"5, 5", b"5,,5",
        b"5,", b",5", b"5,6", b"6,5", b"5 5", b"5;5", b"5\x0b", b"\x0b5", b"5\x00", b"5\xa0", b"\xb2", b"\xd9\xa5", b"", b" ",
        b"five", b"\"5\"", b"'5'", b"0", b"00", b"5_0", b"5\r", b"5\n", b"5\r\n 5", b"5\r\n\t", b"1_0",
        b"9223372036854775807", b"9223372036854775808", b"18446744073709551615", b"18446744073709551616",
        b"99999999999999999999999999", b"4294967301",
    ]:
        yield post(b"Content-Length: " + value + b"\r\n", b"hello")
    for fields in [
        b"Content-Length: 5\r\nContent-Length: 5\r\n", b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 0\r\nContent-Length: 5\r\n", b"Content-Length: 5\r\nContent-Length: 0\r\n",
        b"Content-Length: 5\r\nContent-Length:\r\n", b"Content-Length: 5\r\nContent-length: 05\r\n",
        b"Content-Length : 5\r\n", b"Content-Length\t: 5\r\n", b" Content-Length: 5\r\n", b"Content-Length:5\r\n",
        b"Content-Length\x00: 5\r\n", b"\x00Content-Length: 5\r\n", b"X: y\nContent-Length: 5\r\n",
        b"X: y\rContent-Length: 5\r\n", b"X: y\r\n Content-Length: 5\r\n", b"content-length: 5\r\n",
        b"CONTENT-LENGTH: 5\r\n", b"Content-Length: 5\r\nX: y\r\nContent-Length: 5\r\n",
        b"Content-\r\n Length: 5\r\n", b"Content-Length:\r\n 5\r\n", b"Content-Length: 5\n\r\n",
    ]:
        yield post(fields, b"hello")
    # Around the numbers at which 31, 32, 63 and 64 bits are full, content that looks like a request.
    for bits in [31, 32, 63, 64]:
        for length in [2**bits - 2, 2**bits - 1, 2**bits, 2**bits + 5]:
            yield post(b"Content-Length: %d\r\n" % length, b"<S>")
    # Content that looks like a request, and a length that ends inside or in front of it.
    smuggled = len(fill(SMUGGLED, 1000)) - 1
    for method in [b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"POST", b"PUT", b"PATCH", b"X"]:
        head = method + b" /x HTTP/1.1\r\n<H>"
        yield head + b"Content-Length: 5\r\n\r\nhello"
        yield head + b"\r\n"
    yield post(b"Content-Length: %d\r\n" % smuggled, b"G" * smuggled)


def codings():
    values = [
        b"chunked", b"Chunked", b"CHUNKED", b"chunked ", b"\tchunked\t", b"chunked,", b",chunked", b", chunked", b"chunked,,",
        b"chunked, chunked", b"chunked chunked", b"chunked;", b"chunked;q=1", b"chunked; a=b", b"chunked\x0b", b"\x0bchunked",
        b"chunked\x0c", b"chunked\x00", b"\x00chunked", b"chunked\xa0", b"\xa0chunked", b"\x85chunked", b"chunked\r", b"chunked\n",
        b"chunked\r\n ", b"\r\n chunked", b"\r\n\tchunked", b"\nchunked", b"xchunked", b"chunkedx", b"chunke", b"-chunked", b"chunk",
        b'"chunked"', b"'chunked'", b"chunked\"", b"chun ked", b"chun\x00ked", b"ch\xc3\xbcnked", b"chun\xe2\x84\xaaed", b"%63hunked",
        b"identity", b"identity, chunked", b"chunked, identity", b"identity,identity", b"gzip", b"gzip, chunked", b"chunked, gzip",
        b"deflate", b"x-gzip, chunked", b"trailers", b"cow, chunked", b"br,chunked", b"none", b"", b" ", b",", b"0", b"true", b"7chunked",
        b"chunked=1", b"(chunked)", b"chunked\t, gzip", b"gzip\x0b, chunked", b"gz ip, chunked",
    ]
    body = b"0\r\n\r\n<S>"
    for value in values:
        yield post(b"Transfer-Encoding: " + value + b"\r\n", body)
    for fields in [
        b"Transfer-Encoding:chunked\r\n", b"Transfer-Encoding : chunked\r\n", b"Transfer-Encoding\t: chunked\r\n",
        b" Transfer-Encoding: chunked\r\n", b"transfer-encoding: chunked\r\n", b"TRANSFER-ENCODING: chunked\r\n",
        b"Transfer-Encoding\x00: chunked\r\n", b"\x00Transfer-Encoding: chunked\r\n", b"Transfer-Encoding\x0b: chunked\r\n",
        b"X: y\nTransfer-Encoding: chunked\r\n", b"X: y\rTransfer-Encoding: chunked\r\n",
        b"X: y\r\n Transfer-Encoding: chunked\r\n", b"Transfer-\r\n Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
        b"Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n",
        b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer\xadEncoding: chunked\r\n", b"Transfer Encoding: chunked\r\n", b"Transfer-Encoding chunked\r\n",
        b"Transfer-Encoding= chunked\r\n", b"Transfer-Encoding:: chunked\r\n", b"Transfer-Encoding; chunked\r\n",
    ]:
        yield post(fields, body)


def lengths_and_codings():
    """Each reader that trusts the other field ends the body elsewhere."""
    codings = [
        b"Transfer-Encoding: chunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x", b"Transfer-Encoding:\x0bchunked",
        b"Transfer-Encoding: identity", b"X: y\nTransfer-Encoding: chunked", b"Transfer_Encoding: chunked",
        b"Transfer-Encoding:\r\n chunked", b"Transfer-Encoding: \"chunked\"", b"Transfer-Encoding:",
        b"X-Transfer-Encoding: chunked", b"TE: chunked", b"Transfer-Encoding: chunked\x00",
    ]
    by_length = b"5\r\nhello\r\n0\r\n\r\n"
    by_coding = b"0\r\n\r\n<S>"
    for coding in codings:
        yield post(b"Content-Length: %d\r\n%s\r\n" % (len(by_length), coding), by_length)
        yield post(b"%s\r\nContent-Length: 4\r\n" % coding, b"0\r\n\r\n")
        yield post(b"Content-Length: %d\r\n%s\r\n" % (len(fill(by_coding, 1000)), coding), by_coding)
    yield post(b"Transfer-Encoding: chunked\r\nContent-Length: x\r\n", by_length)
    yield post(b"Transfer-Encoding: chunked\r\nContent-Length:\r\n", by_length)
    yield post(b"Content-Length: 5\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n", by_length)
    yield post(b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n", by_length)


def chunks():
    for body in [
        b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"A\r\n0123456789\r\n0\r\n\r\n",
        b"a\r\n0123456789\r\n0\r\n\r\n", b"0005\r\nhello\r\n0000\r\n\r\n", b"000000000000005\r\nhello\r\n0\r\n\r\n",
        b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"00000000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
        b"10000000000000005\r\nhello\r\n0\r\n\r\n", b"100000005\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"7fffffffffffffff\r\nhello\r\n0\r\n\r\n", b"fffffffb\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n", b"x5\r\nhello\r\n0\r\n\r\n", b"5h\r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n", b"\t5\r\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n",
        b"5\t\r\nhello\r\n0\r\n\r\n", b"5\x0b\r\nhello\r\n0\r\n\r\n", b"5\x00\r\nhello\r\n0\r\n\r\n", b"5_\r\nhello\r\n0\r\n\r\n",
        b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n", b"5,\r\nhello\r\n0\r\n\r\n", b"5.0\r\nhello\r\n0\r\n\r\n",
        b"\"5\"\r\nhello\r\n0\r\n\r\n", b"\xb2\r\nhe\r\n0\r\n\r\n", b"\r\nhello\r\n0\r\n\r\n", b"\r\n5\r\nhello\r\n0\r\n\r\n",
        b"g\r\nhello\r\n0\r\n\r\n", b";\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n", b"5\rhello\r\n0\r\n\r\n", b"5\r\r\nhello\r\n0\r\n\r\n", b"5\n\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello\r0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhello \r\n0\r\n\r\n",
        b"5\r\nhello!!0\r\n\r\n", b"5\r\nhello\r\r\n0\r\n\r\n", b"5\r\nhello\r\n\r\n0\r\n\r\n", b"4\r\nhello\r\n0\r\n\r\n",
        b"6\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\n\r\n", b"5\r\nhello\r\n0\r\n\n", b"5\r\nhello\r\n0\n\n",
        b"5\r\nhello\r\n0\r\r\n", b"5\r\nhello\r\n0\r\n\r\r\n", b"5\r\nhello\r\n0 \r\n\r\n", b"5\r\nhello\r\n00\r\n\r\n",
        b"5\r\nhello\r\n-0\r\n\r\n", b"5\r\nhello\r\n0x0\r\n\r\n", b"5\r\nhello\r\n\r\n\r\n", b"5\r\nhello\r\n0;\r\n\r\n",
    ]:
        yield chunked(body)
    for extension in [
        b";a", b";a=b", b";a=\"b\"", b";a=\"b;c\"", b";a=\"b\\\"c\"", b";a;b;c", b"; a", b" ;a", b" ; a = b", b"\t;a", b";", b";;a",
        b";=b", b";a=", b";a=\"b", b";a=b c", b";a b", b";a\x00", b";a=\"\x00\"", b";a\n", b";a\n;b", b";a\r;b", b";a=\"\r\n\"",
        b";a=\"\n\"", b";\n0", b";a=b\nX: y", b" a", b";\xff", b";a=\xff", b";a=\"\xff\"", b";" + b"a" * 200, b";" + b"a" * 300, b",a",
        b"&a", b":a", b";a\x0b", b";\x0ba", b";a=b;", b";a=b ", b";a ", b";a\t", b";a=\"b\"c", b";a=\"b\" ",
    ]:
        yield chunked(b"5" + extension + b"\r\nhello\r\n0\r\n\r\n")
    for extension in [b";a", b";a\n", b" ", b";\"\r\n\""]:
        yield chunked(b"5\r\nhello\r\n0" + extension + b"\r\n\r\n")
    # What a reader that ends elsewhere would take for a request.
    yield chunked(b"2;\n\r\nxx\r\n4c\r\n0\r\n\r\n<S>\r\n0\r\n\r\n")
    yield chunked(b"0\r\n\r\n<S>")
    yield chunked(b"0;a=\"\r\n\r\n<S>\"\r\n\r\n")


def trailers():
    for section in [
        b"X: y\r\n", b"X: y\r\nZ: z\r\n", b"X:\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b.example\r\n",
        b"Connection: close\r\n", b"Cookie: a=b\r\n", b"Authorization: x\r\n", b"X-Forwarded-For: 203.0.113.9\r\n", b"X_Forwarded_For: x\r\n",
        b"X : y\r\n", b" X: y\r\n", b"X: y\r\n z\r\n", b"X: y\n", b"X: y\nZ: z\r\n", b"X: y\rZ: z\r\n", b"X: \x00\r\n", b"X\x00: y\r\n", b": y\r\n", b"X\r\n",
        b"GET /smuggled HTTP/1.1\r\n<C>", b"X: y\r\n\n", b"\nX: y\r\n", b"X: " + b"y" * 7000 + b"\r\n", b"X: y\r\n" * 120,
        b"If-None-Match: *\r\n", b"Range: bytes=0-0\r\n", b"X-HTTP-Method-Override: DELETE\r\n", b"Content_Length: 0\r\n",
    ]:
        yield chunked(b"5\r\nhello\r\n0\r\n" + section + b"\r\n")
    yield post(b"Transfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X\r\n", b"0\r\nX: y\r\n\r\n")


def hop_by_hop():
    for fields in [
        b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: close, keep-alive\r\n", b"Connection: Host\r\n",
        b"Connection: X\r\nX: y\r\n", b"Connection: Cookie\r\nCookie: a=b\r\n",
        b"Connection: Authorization\r\nAuthorization: x\r\n", b"Connection: X-Forwarded-For\r\n", b"Connection: Via\r\n",
        b"Connection: Connection\r\n", b"Connection: close\r\nConnection: X\r\nX: y\r\n", b"Connection:\r\n", b"Connection: ,\r\n",
        b"Connection: a b\r\n", b"Connection: \"X\"\r\n", b"Connection: X;y\r\n", b"Connection: @\r\n", b"Keep-Alive: timeout=5\r\n",
        b"Proxy-Connection: close\r\n", b"TE: trailers\r\n", b"TE: trailers\r\nConnection: TE\r\n", b"TE: chunked\r\nConnection: TE\r\n",
        b"TE: gzip;q=1\r\n", b"Trailer: Content-Length\r\n", b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\n",
        b"Upgrade: h2c\r\n", b"Upgrade: websocket\r\n", b"Connection: upgrade\r\n", b"Proxy-Authorization: Basic x\r\n",
        b"Connection: " + b", ".join(b"x%d" % n for n in range(40)) + b"\r\n",
    ]:
        yield b"GET /x HTTP/1.1\r\n<H>" + fields + b"\r\n"
    for option in [b"Content-Length", b"content-length, close", b"Host, Content-Length", b"Expect"]:
        yield post(b"Connection: " + option + b"\r\nContent-Length: 5\r\n", b"hello")
    for option in [b"Transfer-Encoding", b"transfer-encoding, keep-alive", b"Trailer"]:
        yield post(b"Connection: " + option + b"\r\nTransfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n")


def look_alikes():
    for name in [
        b"Content_Length", b"Content.Length", b"Content-Length_", b"Content-Lengt", b"Content--Length", b"X-Content-Length", b"HTTP_CONTENT_LENGTH",
        b"CONTENT_LENGTH", b"Content-Length!", b"HTTP-Content-Length",
    ]:
        yield post(name + b": 7\r\nContent-Length: 5\r\n", b"hello")
        yield post(name + b": 5\r\n", b"")
    for name in [b"Transfer_Encoding", b"TRANSFER_ENCODING", b"Transfer-Encoding_", b"Transfer.Encoding", b"X-Transfer-Encoding", b"Transfer-Coding",
                 b"Content-Encoding", b"Content-Transfer-Encoding", b"HTTP_TRANSFER_ENCODING"]:
        yield post(name + b": chunked\r\nContent-Length: 5\r\n", b"hello")
        yield post(name + b": chunked\r\n", b"")
    for field in [b"X_Forwarded_For: 203.0.113.9", b"X-Forwarded-For: 203.0.113.9", b"X_Real_IP: 203.0.113.9", b"Forwarded: host=b.example",
                  b"X-Forwarded-Host: b.example", b"X-Host: b.example", b"X-Original-URL: /y", b"X-Rewrite-URL: /y", b"HTTP_HOST: b.example",
                  b"X-HTTP-Method-Override: DELETE", b"Script-Name: /y", b"SCRIPT_NAME: /y", b"REQUEST_URI: /y", b"X_Case: 0",
                  b"Host_: b.example", b"Front-End-Https: on", b"X-Forwarded-Prefix: /y"]:
        yield b"GET /x HTTP/1.1\r\n<H>" + field + b"\r\n\r\n"


def expectations():
    for value in [b"100-continue", b"100-Continue", b"100-continue, 100-continue", b"100-continue;q", b"200-ok", b"", b"x", b"100-continue,x"]:
        yield post(b"Expect: " + value + b"\r\nContent-Length: 5\r\n", b"hello")
        yield post(b"Expect: " + value + b"\r\nTransfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n")
    yield post(b"Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5\r\n", b"hello")
    yield b"GET /x HTTP/1.1\r\n<H>Expect: 100-continue\r\n\r\n"
    yield b"GET /x HTTP/1.1\r\n<H>Expect: 100-continue\r\nContent-Length: 0\r\n\r\n"


def pipelines():
    one = b"GET /1 HTTP/1.1\r\n<H>\r\n"
    two = b"POST /2 HTTP/1.1\r\n<H>Content-Length: 5\r\n\r\nhello"
    three = b"POST /3 HTTP/1.1\r\n<H>Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    four = b"HEAD /4 HTTP/1.1\r\n<H>\r\n"
    yield one + two + three + four
    yield four + three + two + one
    yield (one + two) * 10
    yield three * 10
    for between in [b"\r\n", b"\r\n\r\n", b"\n", b" ", b"\x00", b"rubbish\r\n\r\n", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]:
        for first in [one, two, three, four]:
            yield first + between
    yield b"GET /x HTTP/1.1\r\n<H>Connection: close\r\n\r\n<S>"
    yield b"GET /x HTTP/1.1\r\n<H>Content-Length: 0\r\n\r\n"
    yield post(b"Content-Length: 0\r\n", b"<F>")
    yield b"HEAD /x HTTP/1.1\r\n<H>Content-Length: 5\r\n\r\nhello"
    yield b"OPTIONS * HTTP/1.1\r\n<H>Content-Length: 5\r\n\r\nhello"


def http_10():
    line = b"GET /x HTTP/1.0\r\n"
    yield line + b"<C>\r\n"
    yield line + b"<H>\r\n"
    yield line + b"<H>Connection: keep-alive\r\n\r\n"
    yield line + b"<H>Connection: close\r\n\r\n"
    yield line + b"<C>Connection: keep-alive\r\n\r\n"
    yield line + b"Host: a.example\r\n<H>\r\n"
    yield line + b"Host:\r\n<C>\r\n"
    yield b"GET http://a.example/x HTTP/1.0\r\n<C>\r\n"
    yield b"GET http://a.example/x HTTP/1.0\r\n<H>\r\n"
    yield b"GET http://b.example/x HTTP/1.0\r\n<H>\r\n"
    yield b"GET /x HTTP/1.0\r\n<H>Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    for keep in [b"", b"Connection: keep-alive\r\n"]:
        head = b"POST /x HTTP/1.0\r\n<H>" + keep
        yield head + b"Content-Length: 5\r\n\r\nhello"
        yield head + b"\r\nhello"
        yield head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n<S>"
        yield head + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello"
        yield head + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello"
        yield head + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"


def limits():
    for count in [60, 92, 97, 98, 99, 150]:
        yield b"GET /x HTTP/1.1\r\n<H>" + b"".join(b"X%d: y\r\n" % n for n in range(count)) + b"\r\n"
    for octets in [1000, 4000, 7000, 8190, 8191, 8192, 9000, 17000]:
        yield b"GET /" + b"x" * octets + b" HTTP/1.1\r\n<H>\r\n"
    for octets in [4000, 7900, 12000, 15000, 17000, 70000]:
        yield b"GET /x HTTP/1.1\r\n<H>X: " + b"y" * octets + b"\r\n\r\n"
    yield b"X" * 20000
    yield chunked(b"1;" + b"a" * 5000 + b"\r\nx\r\n0\r\n\r\n")
    yield chunked(b"".join(b"1;%s\r\nx\r\n" % (b"a" * 200) for _ in range(30)) + b"0\r\n\r\n")
    yield post(b"Content-Length: 100000\r\n", b"y" * 100000)
    yield chunked(b"186A0\r\n" + b"y" * 100000 + b"\r\n0\r\n\r\n")


def broken_off():
    yield b"GET /x HTTP/1.1\r\n<H>"
    yield b"GET /x HTTP/1.1\r\n<H>\r"
    yield b"GET /x HTTP/1.1"
    yield post(b"Content-Length: 5\r\n", b"hell")
    yield post(b"Content-Length: 5\r\n", b"")
    yield post(b"Content-Length: 9223372036854775807\r\n", b"hello")
    for body in [b"", b"5", b"5\r\n", b"5\r\nhel", b"5\r\nhello", b"5\r\nhello\r\n", b"5\r\nhello\r\n0", b"5\r\nhello\r\n0\r\n",
                 b"5\r\nhello\r\n0\r\n\r", b"5\r\nhello\r\n0\r\nX: y\r\n"]:
        yield chunked(body)
    yield b"GET /1 HTTP/1.1\r\n<H>\r\nPOST /2 HTTP/1.1\r\n<H>Content-Length: 9\r\n\r\nhello"
