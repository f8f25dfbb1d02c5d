# Reads a Content-Type and a body of base64 from each line, or "-" and a query, and answers with the parameters in JSON.
# What Rack refuses has none.
require "json"
require "rack"
require "stringio"

def plain(value)
  case value
  when Hash then value.key?(:tempfile) ? nil : value.to_h { |key, inner| [plain(key), plain(inner)] }
  when Array then value.map { |inner| plain(inner) }
  when String then value.encode("UTF-8", invalid: :replace, undef: :replace).scrub
  end
rescue EncodingError
  value.b.scrub.encode("UTF-8", invalid: :replace, undef: :replace)
end

STDOUT.sync = true
while (line = STDIN.gets)
  type, body = line.split.map { |text| text == "-" ? nil : text.unpack1("m") }
  body ||= ""
  parameters =
    begin
      if type
        Rack::Request.new(
          "REQUEST_METHOD" => "POST", "CONTENT_TYPE" => type, "CONTENT_LENGTH" => body.bytesize.to_s,
          "rack.input" => StringIO.new(body), "QUERY_STRING" => ""
        ).POST
      else
        Rack::Utils.parse_nested_query(body, ARGV[0])
      end
    rescue StandardError
      {}
    end
  puts JSON.generate(plain(parameters))
end
