<?php
// Answers a request with the parameters of its form in JSON; a file is null.
$files = array_map(fn() => null, $_FILES);
echo json_encode((object) ($_POST + $files), JSON_INVALID_UTF8_SUBSTITUTE);
