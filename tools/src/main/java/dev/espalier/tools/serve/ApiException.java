package dev.espalier.tools.serve;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;

/// A request that is answered with an error, in the shape that OpenAI's clients expect:
/// `{"error": {"message", "type", "param", "code"}}`.
final class ApiException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final int status;
    private final String type;
    private final String parameter;
    private final String code;

    private ApiException(int status, String type, String parameter, String code, String message) {
        super(message);
        this.status = status;
        this.type = type;
        this.parameter = parameter;
        this.code = code;
    }

    /// 400: the request's field `parameter` (null: the body as a whole) cannot be used.
    static ApiException badRequest(String parameter, String message) {
        return new ApiException(400, "invalid_request_error", parameter, null, message);
    }

    /// 400 with the code that clients look for when a prompt does not fit.
    static ApiException contextExceeded(String message) {
        return new ApiException(400, "invalid_request_error", "prompt", "context_length_exceeded", message);
    }

    static ApiException unauthorized() {
        return new ApiException(
                401,
                "invalid_request_error",
                null,
                "invalid_api_key",
                "This server wants the key of --api-key as 'Authorization: Bearer KEY'.");
    }

    static ApiException notFound(String message) {
        return new ApiException(404, "invalid_request_error", null, "not_found", message);
    }

    static ApiException methodNotAllowed(String method, String path) {
        return new ApiException(
                405, "invalid_request_error", null, "method_not_allowed", method + " is not offered on " + path + ".");
    }

    static ApiException tooLarge(String message) {
        return new ApiException(413, "invalid_request_error", null, "request_too_large", message);
    }

    static ApiException busy(String message) {
        return new ApiException(429, "rate_limit_error", null, "queue_full", message);
    }

    static ApiException failed(String message) {
        return new ApiException(500, "server_error", null, null, message);
    }

    /// The HTTP status.
    int status() {
        return status;
    }

    /// The body to send.
    ObjectNode body() {
        ObjectNode body = JsonNodeFactory.instance.objectNode();
        body.putObject("error")
                .put("message", getMessage())
                .put("type", type)
                .put("param", parameter)
                .put("code", code);
        return body;
    }
}
