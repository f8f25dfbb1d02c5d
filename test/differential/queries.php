<?php
// Reads a query of base64 from each line, and answers with its parameters in JSON.
while (($line = fgets(STDIN)) !== false) {
    parse_str(base64_decode(trim($line)), $parameters);
    echo json_encode((object) $parameters, JSON_INVALID_UTF8_SUBSTITUTE), "\n";
}
